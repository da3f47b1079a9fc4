"""The game itself, Java edition: agents are players on a Minecraft server (see ``docs/minecraft.md``)."""
