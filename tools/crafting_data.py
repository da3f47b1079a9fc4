"""Write src/burnish/act/data/crafting.json from the npm package minecraft-data.

    npm pack minecraft-data@3.119.0 && tar xzf minecraft-data-3.119.0.tgz
    python tools/crafting_data.py package/minecraft-data/data/pc/1.20 src/burnish/act/data/crafting.json

The package (MIT licence) has crafting recipes, what blocks drop and with which tools, what creatures drop, durability
and food. It does not have smelting, fuel, and what is taken by hand from the world (water with a bucket): those tables
stand below, written from the game's rules for 1.20. So does the list of blocks that exist by nature: a crafting table
drops itself, and is no source of crafting tables.
"""

import json
import sys
from pathlib import Path
from typing import Any

COLOURS = [
    "white",
    "orange",
    "magenta",
    "light_blue",
    "yellow",
    "lime",
    "pink",
    "gray",
    "light_gray",
    "cyan",
    "purple",
    "blue",
    "brown",
    "green",
    "red",
    "black",
]
WOODS = ["oak", "spruce", "birch", "jungle", "acacia", "cherry", "dark_oak", "mangrove"]
LOGS = [f"{wood}_log" for wood in WOODS]
STEMS = ["warped_stem", "crimson_stem"]

SMELT: dict[str, list[str]] = {
    "stone": ["cobblestone"],
    "smooth_stone": ["stone"],
    "glass": ["sand", "red_sand"],
    "iron_ingot": ["raw_iron"],
    "gold_ingot": ["raw_gold"],
    "copper_ingot": ["raw_copper"],
    "netherite_scrap": ["ancient_debris"],
    "brick": ["clay_ball"],
    "nether_brick": ["netherrack"],
    "terracotta": ["clay"],
    "charcoal": LOGS,
    "deepslate": ["cobbled_deepslate"],
    "smooth_basalt": ["basalt"],
    "smooth_sandstone": ["sandstone"],
    "smooth_red_sandstone": ["red_sandstone"],
    "smooth_quartz": ["quartz_block"],
    "sponge": ["wet_sponge"],
    "green_dye": ["cactus"],
    "lime_dye": ["sea_pickle"],
    "popped_chorus_fruit": ["chorus_fruit"],
    "dried_kelp": ["kelp"],
    "baked_potato": ["potato"],
} | {
    f"cracked_{name}": [name]
    for name in ["stone_bricks", "nether_bricks", "deepslate_bricks", "deepslate_tiles", "polished_blackstone_bricks"]
}
SMELT |= {f"cooked_{meat}": [meat] for meat in ["beef", "porkchop", "mutton", "chicken", "rabbit", "cod", "salmon"]}
SMELT |= {f"{colour}_glazed_terracotta": [f"{colour}_terracotta"] for colour in COLOURS}

# Items smelted by one piece of fuel; the first that can be had is burnt.
FUEL = {"coal": 8, "charcoal": 8, "coal_block": 80, "blaze_rod": 12, "dried_kelp_block": 20, "lava_bucket": 100}
FUEL |= dict.fromkeys([*LOGS, *(f"{wood}_planks" for wood in WOODS)], 1.5) | {"stick": 0.5, "bamboo": 0.25}

# What stays in hand when an ingredient is used up.
REMAINDERS = {
    "milk_bucket": "bucket",
    "water_bucket": "bucket",
    "lava_bucket": "bucket",
    "honey_bottle": "glass_bottle",
}

# Taken from the world by using something on it: (source, used up, tool that only wears).
COLLECT: dict[str, tuple[str, dict[str, int], list[str]]] = {
    "water_bucket": ("water", {"bucket": 1}, []),
    "lava_bucket": ("lava", {"bucket": 1}, []),
    "powder_snow_bucket": ("powder_snow", {"bucket": 1}, []),
    "milk_bucket": ("cow", {"bucket": 1}, []),
    "potion": ("water", {"glass_bottle": 1}, []),
    "honey_bottle": ("bee_nest", {"glass_bottle": 1}, []),
    "dragon_breath": ("ender_dragon", {"glass_bottle": 1}, []),
    "honeycomb": ("bee_nest", {}, ["shears"]),
    "egg": ("chicken", {}, []),
    "scute": ("turtle", {}, []),
    "sweet_berries": ("sweet_berry_bush", {}, []),
    "carved_pumpkin": ("placed_block", {"pumpkin": 1}, ["shears"]),
    "nether_star": ("wither", {"soul_sand": 4, "wither_skeleton_skull": 3}, []),
}
COLLECT |= {
    f"{fish}_bucket": (fish, {"water_bucket": 1}, []) for fish in ["cod", "salmon", "pufferfish", "tropical_fish"]
}
COLLECT |= {f"{animal}_bucket": (animal, {"water_bucket": 1}, []) for animal in ("axolotl", "tadpole")}
COLLECT |= {
    f"{colour}_wool": ("sheep", {}, ["shears"]) for colour in ["white", "black", "gray", "light_gray", "brown", "pink"]
}
AXES = [f"{kind}_axe" for kind in ["wooden", "stone", "iron", "golden", "diamond"]]
PICKAXES = [f"{kind}_pickaxe" for kind in ["wooden", "stone", "iron", "golden", "diamond"]]
COLLECT |= {f"stripped_{log}": ("placed_block", {log: 1}, AXES) for log in [*LOGS, *STEMS, "bamboo_block"]}
COLLECT |= {f"{colour}_concrete": ("water", {f"{colour}_concrete_powder": 1}, PICKAXES) for colour in COLOURS}

# Recipes that the package leaves out: netherite by the smithing table, boxes by dyeing.
SMITHING = ["axe", "boots", "chestplate", "helmet", "hoe", "leggings", "pickaxe", "shovel", "sword"]

# Self-dropping blocks that no recipe makes and that nevertheless do not lie about in the world.
NOT_NATURAL = {
    *SMELT, *COLLECT, "dragon_egg", "chipped_anvil", "damaged_anvil", "petrified_oak_slab", "torchflower",
    "pitcher_plant", "sniffer_egg", "torchflower_seeds", "pitcher_pod", "wither_rose", "exposed_copper",
    "weathered_copper", "oxidized_copper", "player_head", "skeleton_skull", "wither_skeleton_skull", "zombie_head",
    "creeper_head", "dragon_head", "piglin_head", "ochre_froglight", "verdant_froglight", "pearlescent_froglight",
    *(f"{colour}_shulker_box" for colour in COLOURS),
}  # fmt: skip
# Blocks of the world that a recipe can make too, and blocks whose drops the package gives wrongly or not at all:
# item, block, tools (empty: the hand will do), chance of a drop.
SHEARED = [
    "grass",
    "fern",
    "dead_bush",
    "vine",
    "seagrass",
    "glow_lichen",
    "hanging_roots",
    "nether_sprouts",
    "small_dripleaf",
    "cobweb",
]
BY_HAND: list[tuple[str, str, list[str], float]] = [
    *((name, name, PICKAXES, 1.0) for name in ("granite", "diorite", "andesite")),
    ("melon_slice", "melon", [], 1.0),
    ("wheat", "wheat", [], 1.0),
    ("beetroot", "beetroots", [], 1.0),
    ("glow_berries", "cave_vines", [], 1.0),
    ("chorus_flower", "chorus_flower", [], 1.0),
    ("mangrove_propagule", "mangrove_leaves", [], 0.05),
    ("twisting_vines", "twisting_vines", [], 1.0),
    ("flint", "gravel", [], 0.1),
    ("apple", "oak_leaves", [], 0.005),
    ("poisonous_potato", "potatoes", [], 0.02),
    *((name, name, ["shears"], 1.0) for name in SHEARED),
    *((f"{wood}_leaves", f"{wood}_leaves", ["shears"], 1.0) for wood in [*WOODS, "azalea", "flowering_azalea"]),
]
MADE_BLOCKS = ("wall_", "potted_", "candle_cake", "cauldron", "attached_", "campfire")
MADE_BLOCK = {
    "torchflower_crop",
    "pitcher_crop",
    "dead_bush",
    "bookshelf",
    "ender_chest",
    "sea_lantern",
    "redstone_wire",
    "tripwire",
    "dirt_path",
    "farmland",
}
# Health of creatures that are not of the common 20: what a kill costs is told by it.
HEALTH = {
    "cat": 10, "cave_spider": 12, "chicken": 4, "cod": 3, "cow": 10, "dolphin": 10, "elder_guardian": 80, "enderman":
    40, "evoker": 24, "ghast": 10, "glow_squid": 10, "guardian": 30, "hoglin": 40, "iron_golem": 100, "magma_cube": 16,
    "mooshroom": 10, "parrot": 6, "pig": 10, "polar_bear": 30, "pufferfish": 3, "rabbit": 3, "ravager": 100, "salmon":
    3, "sheep": 8, "shulker": 30, "skeleton_horse": 15, "slime": 16, "snow_golem": 4, "spider": 16, "squid": 10,
    "tropical_fish": 3, "turtle": 30, "vindicator": 24, "warden": 500, "witch": 26, "zoglin": 40, "zombie_horse": 15,
}  # fmt: skip
RARE = {"wither_skeleton_skull": 0.025, "rabbit_foot": 0.1, "shulker_shell": 0.5}

CREATIVE = "creative mode only, or it cannot be taken"
CREATIVES = {
    "air", "barrier", "bedrock", "bundle", "chain_command_block", "chorus_plant", "command_block",
    "command_block_minecart", "debug_stick", "end_portal_frame", "farmland", "dirt_path", "frogspawn", "jigsaw",
    "knowledge_book", "light", "petrified_oak_slab", "player_head", "reinforced_deepslate", "repeating_command_block",
    "spawner", "structure_block", "structure_void", "budding_amethyst", "suspicious_gravel", "suspicious_sand",
}  # fmt: skip
FOUND = "found only in the chests or the ground of structures"
FOUND_PARTS = (
    "sherd",
    "music_disc",
    "horse_armor",
    "chainmail_",
    "_smithing_template",
    "banner_pattern",
    "disc_fragment",
)
FOUND_ITEMS = {
    "elytra", "echo_shard", "heart_of_the_sea", "name_tag", "enchanted_golden_apple", "enchanted_book", "goat_horn",
    "experience_bottle", "nautilus_shell", "bell", "sniffer_egg", "trident",
}  # fmt: skip
BREWED = {"splash_potion": "brewed", "lingering_potion": "brewed", "tipped_arrow": "made of a brewed potion"}
AGED = {"exposed_copper", "weathered_copper", "oxidized_copper", "chipped_anvil", "damaged_anvil"}


def main(source: Path, target: Path) -> None:
    """Read the package's folder, write the file."""
    read = {name: json.loads((source / f"{name}.json").read_text()) for name in
            ("items", "recipes", "blocks", "blockLoot", "entityLoot", "foods")}  # fmt: skip
    names = {item["id"]: item["name"] for item in read["items"]}
    food = {item["name"]: item["foodPoints"] for item in read["foods"]}
    items: dict[str, dict[str, Any]] = {}
    for item in read["items"]:
        about = {"stack": item["stackSize"], "uses": item.get("maxDurability"), "food": food.get(item["name"])}
        items[item["name"]] = {key: value for key, value in about.items() if value is not None}
    craft = _craft(read["recipes"], names)
    mine = _mine(read["blocks"], names, craft)
    loot = _loot(read["entityLoot"])
    sources = {*craft, *SMELT, *mine, *loot, *COLLECT}
    silk = {drop["item"] for block in read["blockLoot"] for drop in block["drops"] if drop.get("silkTouch")}
    content = {
        "source": "minecraft-data 3.119.0 (MIT licence, https://github.com/PrismarineJS/minecraft-data), Java "
        "edition 1.20; smelting, fuel and what is taken by hand: tools/crafting_data.py",
        "items": items,
        "craft": craft,
        "smelt": SMELT,
        "mine": mine,
        "loot": loot,
        "collect": {
            name: {"from": where, "uses": uses, "tools": tools} for name, (where, uses, tools) in COLLECT.items()
        },
        "fuel": FUEL,
        "remainders": REMAINDERS,
        # A template is copied from itself, so it has a recipe and still must be found first.
        "withheld": {
            name: _why(name, silk) for name in items if name not in sources or name.endswith("_smithing_template")
        },
    }
    for part in (SMELT, FUEL, REMAINDERS, COLLECT, mine, loot, craft):
        unknown = set(part) - set(items)
        assert not unknown, unknown
    lines = [f"{json.dumps(key)}: {_lines(value)}" for key, value in content.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _lines(value: Any) -> str:
    """One line an entry: a change in the data is a change in one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    rows = [f"  {json.dumps(key)}: {json.dumps(one, separators=(',', ':'))}" for key, one in value.items()]
    return "{\n" + ",\n".join(rows) + "\n}"


def _craft(recipes: dict[str, list[dict[str, Any]]], names: dict[int, str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for key, variants in recipes.items():
        made: list[dict[str, Any]] = []
        for variant in variants:
            if "ingredients" in variant:
                cells, fits = variant["ingredients"], len(variant["ingredients"]) <= 4
            else:
                rows = variant["inShape"]
                cells, fits = [cell for row in rows for cell in row], len(rows) <= 2 and max(map(len, rows)) <= 2
            uses: dict[str, int] = {}
            for cell in cells:
                if cell is not None:
                    uses[names[cell]] = uses.get(names[cell], 0) + 1
            recipe = {"makes": variant["result"]["count"], "uses": uses, "at": None if fits else "crafting_table"}
            if recipe not in made:
                made.append(recipe)
        found[names[int(key)]] = made
    for kind in SMITHING:
        uses = {f"diamond_{kind}": 1, "netherite_ingot": 1, "netherite_upgrade_smithing_template": 1}
        found[f"netherite_{kind}"] = [{"makes": 1, "uses": uses, "at": "smithing_table"}]
    for colour in COLOURS:
        uses = {"shulker_box": 1, f"{colour}_dye": 1}
        found[f"{colour}_shulker_box"] = [{"makes": 1, "uses": uses, "at": None}]
    return found


def _mine(
    blocks: list[dict[str, Any]], names: dict[int, str], craft: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}

    def add(item: str, block: str, tools: list[str], chance: float, hardness: float) -> None:
        ways = found.setdefault(item, [])
        if all(way["block"] != block for way in ways):
            ways.append({"block": block, "tools": tools, "chance": chance, "hardness": hardness})

    hardness = {block["name"]: block["hardness"] for block in blocks}
    for item, block, tools, chance in BY_HAND:
        add(item, block, tools, chance, hardness[block])
    for block in blocks:
        name = block["name"]
        if (
            name in MADE_BLOCK
            or any(part in name for part in MADE_BLOCKS)
            or name.endswith(("pumpkin_stem", "melon_stem"))
        ):
            continue
        tools = sorted(names[int(tool)] for tool in block.get("harvestTools", {}))
        for drop in block["drops"]:
            item = names[drop]
            natural = item != name or (item not in craft and item not in NOT_NATURAL)
            if natural and item not in ("air", "torch", "redstone_torch", "soul_torch"):
                add(item, name, tools, 1.0, block["hardness"])
    add(
        "snowball",
        "snow",
        [f"{kind}_shovel" for kind in ["wooden", "stone", "iron", "golden", "diamond"]],
        1.0,
        hardness["snow"],
    )
    return found


def _loot(entities: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entity in entities:
        for drop in entity["drops"]:
            item, creature = drop["item"], entity["entity"]
            chance = RARE.get(drop["item"], drop["dropChance"])
            # One kill in a hundred is no way to plan for; a brewed arrow and a template are told apart below.
            if chance >= 0.02 and item not in ("tipped_arrow",) and not item.endswith("_smithing_template"):
                found.setdefault(item, []).append(
                    {"creature": creature, "chance": round(chance, 4), "health": HEALTH.get(creature, 20)}
                )
    return found


def _why(name: str, silk: set[str]) -> str:
    if name.endswith("_spawn_egg") or name in CREATIVES or name.startswith("infested_"):
        return CREATIVE
    if name in FOUND_ITEMS or any(part in name for part in FOUND_PARTS):
        return FOUND
    if name in BREWED:
        return BREWED[name]
    if name in AGED:
        return "made by time or wear, not by a skill"
    if name.endswith(("_skull", "_head")):
        return "a head: dropped in accidents only"
    if name in silk or name in ("grass_block", "tall_grass", "large_fern", "dead_tube_coral"):
        return "needs a tool with silk touch, which is enchanted, not crafted"
    return "no recipe, block or creature of the data gives it"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
