// Commands that need a block or a window: craft, smelt, collect, place, chests.
'use strict'
const { stock, cell } = require('./sight.js')

module.exports = ({ Failed, gained, held, nearBlock, spot, until, REACH }) => {
  const same = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())

  function uses (bot, recipe) {
    const needs = {}
    for (const { id, count } of recipe.delta) if (count < 0) needs[bot.registry.items[id].name] = -count
    return needs
  }

  const within = (bot, name) => bot.findBlock({ matching: block => block.name === name, maxDistance: REACH - 1 })

  // Use a station in reach, or set up one's own and take it up again.
  async function station (bot, name, job, use) {
    const standing = within(bot, name)
    if (standing) return use(standing)
    const at = freeBeside(bot)
    await put(bot, name, at, job)
    const block = bot.blockAt(at)
    try {
      return await use(block)
    } finally {
      if (!job.cancelled) await job.during(bot.dig(bot.blockAt(at), true)).catch(() => {})
      await until(job, 1.5, () => stock(bot)[name]).catch(() => {})
    }
  }

  function freeBeside (bot) {
    for (const [dx, dy, dz] of [[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1], [1, 1, 0], [-1, 1, 0], [0, 1, 1], [0, 1, -1]]) {
      const at = bot.entity.position.floored().offset(dx, dy, dz)
      const under = bot.blockAt(at.offset(0, -1, 0))
      if (bot.blockAt(at) && bot.blockAt(at).name === 'air' && under && under.boundingBox === 'block') return at
    }
    throw new Failed('no free place beside to set it up')
  }

  async function put (bot, item, at, job) {
    await job.during(bot.equip(held(bot, item), 'hand'))
    for (const [dx, dy, dz] of [[0, -1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1], [0, 1, 0]]) {
      const base = bot.blockAt(at.offset(dx, dy, dz))
      if (base && base.boundingBox === 'block') {
        return job.during(bot.placeBlock(base, at.clone().set(-dx, -dy, -dz)))
      }
    }
    throw new Failed(`there is nothing beside ${JSON.stringify(cell(at))} to set a block against`)
  }

  async function craft (world, bot, { item, times, uses: asked }, job) {
    const about = bot.registry.itemsByName[item]
    if (!about || times < 1) throw new Failed(`there is no recipe for ${item}`)
    const find = table => bot.recipesAll(about.id, null, table).find(each => same(uses(bot, each), asked))
    const inHand = find(null)
    const recipe = inHand || find(true)
    if (!recipe) throw new Failed(`there is no recipe for ${item} from ${JSON.stringify(asked)}`)
    const before = stock(bot)
    for (const name in asked) {
      if ((before[name] || 0) < asked[name] * times) throw new Failed(`${item}: needs ${asked[name] * times} ${name}, has ${before[name] || 0}`)
    }
    const made = recipe.result.count * times
    if (world.settings.craft_command) {
      bot.chat(`/${world.settings.craft_command} ${item} ${made} ${JSON.stringify(asked)} ${times}`)
      if (!await until(job, 5, () => (stock(bot)[item] || 0) >= (before[item] || 0) + made)) throw new Failed(`${item}: the server did not craft it`)
    } else if (inHand) {
      await job.during(bot.craft(recipe, times, null))
    } else {
      await station(bot, 'crafting_table', job, table => job.during(bot.craft(recipe, times, table)))
    }
    return { got: { [item]: made } }
  }

  async function smelt (world, bot, { item, source, count, fuel }, job) {
    return station(bot, 'furnace', job, async block => {
      const furnace = await job.during(bot.openFurnace(block))
      try {
        await job.during(furnace.putInput(held(bot, source).type, null, count))
        let taken = 0
        for (let seconds = 0; taken < count && seconds < 12 * count + 10; seconds++) {
          if (!furnace.fuelItem() && !(furnace.fuel > 0)) {
            const burnt = fuel.find(name => stock(bot)[name] > 0)
            if (!burnt) throw new Failed(`no fuel: needs ${fuel.slice(0, 4).join(' or ')}`)
            await job.during(furnace.putFuel(held(bot, burnt).type, null, 1))
          }
          await until(job, 1, () => furnace.outputItem())
          if (furnace.outputItem()) taken += (await job.during(furnace.takeOutput())).count
        }
        if (taken < count) throw new Failed(`smelted ${taken} of ${count} ${item}`)
        return { got: { [item]: taken } }
      } finally { furnace.close() }
    })
  }

  async function collect (world, bot, { item }, job) {
    const ways = { water_bucket: ['water', 'bucket'], lava_bucket: ['lava', 'bucket'], milk_bucket: ['cow', 'bucket'], white_wool: ['sheep', 'shears'], sweet_berries: ['sweet_berry_bush', null] }
    if (!Object.hasOwn(ways, item)) throw new Failed(`${item} cannot be collected`)
    const [source, tool] = ways[item]
    if (tool) await job.during(bot.equip(held(bot, tool), 'hand'))
    const before = stock(bot)
    const block = within(bot, source)
    const creature = bot.nearestEntity(each => each.name === source && each.position.distanceTo(bot.entity.position) < REACH)
    if (block && tool) {
      await job.during(bot.lookAt(block.position.offset(0.5, 0.5, 0.5), true))
      bot.activateItem()
    } else if (block) await job.during(bot.activateBlock(block))
    else if (creature) await job.during(bot.activateEntity(creature))
    else throw new Failed(`no ${source} within ${REACH} blocks`)
    if (!await until(job, 3, () => gained(before, stock(bot))[item])) throw new Failed(`the ${source} gave no ${item}`)
    return { got: gained(before, stock(bot)) }
  }

  async function place (world, bot, { item, at }, job) {
    if (nearBlock(bot, at).name !== 'air') throw new Failed(`${JSON.stringify(at)} is not free`)
    await put(bot, item, spot(bot, at), job)
    return { at }
  }

  async function open (world, bot, { at }, job) {
    const block = nearBlock(bot, at)
    if (!/chest|barrel/.test(block.name)) throw new Failed(`there is no chest at ${JSON.stringify(at)}`)
    const chest = await job.during(bot.openContainer(block))
    const items = {}
    for (const each of chest.containerItems()) items[each.name] = (items[each.name] || 0) + each.count
    return { items }
  }

  function opened (bot) {
    if (!bot.currentWindow || !bot.currentWindow.deposit) throw new Failed('has no chest open')
    return bot.currentWindow
  }

  const type = (bot, item) => {
    const about = bot.registry.itemsByName[item]
    if (!about) throw new Failed(`${item} is unknown`)
    return about.id
  }

  return {
    craft,
    smelt,
    collect,
    place,
    open,
    close: (world, bot) => { if (bot.currentWindow) bot.closeWindow(bot.currentWindow) },
    put: async (world, bot, { item, count }, job) => { await job.during(opened(bot).deposit(type(bot, item), null, count)) },
    take: async (world, bot, { item, count }, job) => {
      await job.during(opened(bot).withdraw(type(bot, item), null, count))
      return { got: { [item]: count } }
    }
  }
}
