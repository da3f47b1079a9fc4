// What an agent sees, under the keys of craftworld's observation.
'use strict'
const SIGHT = 24
const HUNTERS = /zombie|skeleton|creeper|spider|witch|slime|pillager|husk|stray|drowned|phantom|vindicator|ravager/

function stock (bot) {
  const held = {}
  for (const item of bot.inventory.items()) held[item.name] = (held[item.name] || 0) + item.count
  for (const slot of [5, 6, 7, 8, 45]) {
    const item = bot.inventory.slots[slot]
    if (item && slot !== 45) held[item.name] = (held[item.name] || 0) + item.count
  }
  return held
}

const cell = position => [Math.floor(position.x), Math.floor(position.y), Math.floor(position.z)]

function blocks (bot) {
  const found = {}
  const at = bot.findBlocks({ matching: block => block.name !== 'air' && block.name !== 'bedrock', maxDistance: 8, count: 400 })
  for (const position of at) {
    const name = bot.blockAt(position).name
    if (!(name in found) && Object.keys(found).length < 24) found[name] = cell(position)
  }
  return found
}

function observe (world, bot, agent) {
  const me = bot.entity.position
  const near = Object.values(bot.entities)
    .filter(each => each !== bot.entity && each.position && each.position.distanceTo(me) <= SIGHT)
    .map(each => ({ each, distance: Math.round(each.position.distanceTo(me)) }))
    .sort((a, b) => a.distance - b.distance)
  const creatures = near.filter(({ each }) => ['mob', 'animal', 'hostile', 'passive', 'ambient', 'water_creature'].includes(each.type)).slice(0, 8)
    .map(({ each, distance }) => ({ name: each.name, at: cell(each.position), distance, hunts: HUNTERS.test(each.name) }))
  const agents = near.filter(({ each }) => each.type === 'player').slice(0, 8)
    .map(({ each, distance }) => ({ name: each.username, team: world.bots.has(each.username) ? 'team' : 'others', at: cell(each.position), distance }))
  const threat = creatures.find(each => each.hunts && each.distance <= 10)
  const team = {}
  for (const [name, other] of world.bots) team[name] = stock(other)
  return {
    sky: bot.time.timeOfDay >= 12542 && bot.time.timeOfDay <= 23460 ? 'night' : 'day',
    at: cell(me),
    health: bot.health,
    hunger: bot.food,
    inventory: stock(bot),
    hand: bot.heldItem ? bot.heldItem.name : null,
    alive: bot.burnishAlive,
    gone: false,
    blocks: blocks(bot),
    creatures,
    agents,
    ...(threat ? { threat: { name: threat.name, distance: threat.distance, enemy: false } } : {}),
    team
  }
}

module.exports = { observe, stock, cell, HUNTERS }
