// The commands of craftworld, in the game: same names, arguments and results; places are [x, y, z].
'use strict'
const { stock, cell, HUNTERS } = require('./sight.js')

class Failed extends Error {}
const REACH = 5
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const key = at => at.join(',')

function spot (bot, at) {
  if (!Array.isArray(at) || at.length !== 3 || !at.every(Number.isFinite)) throw new Failed(`${JSON.stringify(at)} is no place; write [x, y, z]`)
  return bot.entity.position.clone().set(...at.map(Math.floor))
}

function gained (before, after) {
  const got = {}
  for (const name in after) if (after[name] > (before[name] || 0)) got[name] = after[name] - (before[name] || 0)
  return got
}

async function go (world, bot, goal, job) {
  try {
    await job.during(bot.pathfinder.goto(goal))
  } catch (error) {
    if (job.cancelled) throw new Failed('cancelled')
    throw new Failed(`there is no way: ${error.message}`)
  }
}

async function until (job, seconds, test) {
  for (let waited = 0; waited < seconds * 1000; waited += 50) {
    const found = test()
    if (found) return found
    await job.during(sleep(50))
  }
  return test()
}

function nearBlock (bot, at) {
  const place = spot(bot, at)
  if (place.offset(0.5, 0.5, 0.5).distanceTo(bot.entity.position.offset(0, 1.62, 0)) > REACH) throw new Failed(`${JSON.stringify(at)} is not within ${REACH} blocks`)
  const block = bot.blockAt(place)
  if (!block) throw new Failed(`${JSON.stringify(at)} is not loaded`)
  return block
}

function held (bot, name) {
  const item = bot.inventory.items().find(each => each.name === name)
  if (!item) throw new Failed(`has no ${name}`)
  return item
}

function seen (bot, target) {
  const one = bot.nearestEntity(each => each !== bot.entity && (each.username === target || (each.type !== 'player' && each.name === target)))
  if (!one || one.position.distanceTo(bot.entity.position) > 48) throw new Failed(`no ${target} in sight`)
  return one
}

function release (world, agent) {
  for (const [at, by] of world.claims) if (by === agent) world.claims.delete(at)
}

async function walk (world, bot, { to, near = 0 }, job) {
  const { goals } = world.pathfinder
  const place = spot(bot, to)
  await go(world, bot, near ? new goals.GoalNear(place.x, place.y, place.z, near) : new goals.GoalBlock(place.x, place.y, place.z), job)
  return { at: cell(bot.entity.position) }
}

async function explore (world, bot, given, job) {
  const { goals } = world.pathfinder
  const [x, , z] = cell(bot.entity.position)
  const here = [Math.floor(x / 16), Math.floor(z / 16)]
  bot.burnishSeen.add(key(here))
  for (let ring = 1; ring <= 8; ring++) {
    for (const [dx, dz] of [[1, 0], [0, 1], [-1, 0], [0, -1], [1, 1], [-1, 1], [-1, -1], [1, -1]]) {
      const chunk = [here[0] + dx * ring, here[1] + dz * ring]
      if (bot.burnishSeen.has(key(chunk))) continue
      bot.burnishSeen.add(key(chunk)) // what cannot be reached is not tried again
      await go(world, bot, new goals.GoalNearXZ(chunk[0] * 16 + 8, chunk[1] * 16 + 8, 6), job)
      return { at: cell(bot.entity.position), seen: 1 }
    }
  }
  throw new Failed('has seen the whole map')
}

function claim (world, bot, { blocks, near }) {
  release(world, bot.username)
  const found = bot.findBlocks({ point: near ? spot(bot, near) : bot.entity.position, matching: block => blocks.includes(block.name), maxDistance: 32, count: 64 })
  const place = found.find(each => !world.claims.has(key(cell(each))))
  if (!place) throw new Failed(`knows of no ${blocks.slice(0, 3).join(' or ')}`)
  world.claims.set(key(cell(place)), bot.username)
  return { at: cell(place), block: bot.blockAt(place).name }
}

async function mine (world, bot, { at }, job) {
  const block = nearBlock(bot, at)
  if (block.name === 'air' || !block.diggable) throw new Failed(`there is nothing to mine at ${JSON.stringify(at)}`)
  const owner = world.claims.get(key(at))
  if (owner && owner !== bot.username) throw new Failed(`${owner} means to take it`)
  const tool = bot.pathfinder.bestHarvestTool(block)
  if (tool) await job.during(bot.equip(tool, 'hand'))
  if (block.harvestTools && !(bot.heldItem && block.harvestTools[bot.heldItem.type])) throw new Failed(`${block.name} needs a better tool`)
  const before = stock(bot)
  await job.during(bot.dig(block, true))
  world.claims.delete(key(at))
  const got = () => Object.keys(gained(before, stock(bot))).length > 0
  // Drops are picked up by walking over them: wait a little, then go there.
  if (!await until(job, 1.0, got)) {
    const drop = bot.nearestEntity(each => each.name === 'item' && each.position.distanceTo(block.position) < 4)
    if (drop) {
      await go(world, bot, new world.pathfinder.goals.GoalNear(drop.position.x, drop.position.y, drop.position.z, 0), job).catch(error => { if (job.cancelled) throw error })
      await until(job, 2.0, got)
    }
  }
  return { got: gained(before, stock(bot)) }
}

async function approach (world, bot, { target }, job) {
  for (let tries = 0; tries < 20; tries++) {
    const one = seen(bot, target)
    if (one.position.distanceTo(bot.entity.position) <= 3) return { at: cell(bot.entity.position) }
    await go(world, bot, new world.pathfinder.goals.GoalNear(one.position.x, one.position.y, one.position.z, 2), job)
  }
  throw new Failed(`the ${target} does not let itself be caught`)
}

async function attack (world, bot, { target }, job) {
  const one = seen(bot, target)
  if (one.position.distanceTo(bot.entity.position) > 4) throw new Failed(`the ${target} is out of reach`)
  if (world.bots.has(target)) throw new Failed(`${target} is of the same team`)
  const before = stock(bot)
  bot.attack(one)
  const dead = Boolean(await until(job, 0.65, () => !one.isValid))
  return { dead, got: dead ? gained(before, stock(bot)) : {} }
}

async function flee (world, bot, { cells = 10 }, job) {
  const me = bot.entity.position
  const threat = bot.nearestEntity(each => HUNTERS.test(each.name || '') && each.position.distanceTo(me) <= cells)
  if (threat) {
    const away = me.minus(threat.position).normalize().scaled(cells)
    await go(world, bot, new world.pathfinder.goals.GoalNearXZ(me.x + away.x, me.z + away.z, 2), job)
  }
  return { at: cell(bot.entity.position) }
}

async function eat (world, bot, { item }, job) {
  await job.during(bot.equip(held(bot, item), 'hand'))
  await job.during(bot.consume())
  return { hunger: bot.food }
}

async function equip (world, bot, { item }, job) {
  const slots = { helmet: 'head', chestplate: 'torso', leggings: 'legs', boots: 'feet', shield: 'off-hand' }
  await job.during(bot.equip(held(bot, item), slots[item.split('_').pop()] || 'hand'))
}

async function give (world, bot, { to, item, count }, job) {
  const other = seen(bot, to)
  if (other.position.distanceTo(bot.entity.position) > REACH) throw new Failed(`${to} is not within ${REACH} blocks`)
  const type = held(bot, item).type
  if ((stock(bot)[item] || 0) < count) throw new Failed(`has not ${count} ${item}`)
  await job.during(bot.lookAt(other.position.offset(0, 1, 0)))
  await job.during(bot.toss(type, null, count))
}

module.exports = {
  Failed,
  COMMANDS: {
    walk,
    explore,
    patrol: explore,
    claim,
    release: (world, bot) => release(world, bot.username),
    mine,
    approach,
    attack,
    flee,
    eat,
    equip,
    give,
    chat: (world, bot, { text }) => { bot.chat(String(text).replace(/[\r\n]/g, ' ').slice(0, 250)) },
    wait: async (world, bot, { seconds }, job) => { await job.during(sleep(Math.min(seconds, 600) * 1000)) },
    ...require('./stations.js')({ Failed, gained, held, nearBlock, spot, until, REACH })
  }
}
