// JSON-RPC 2.0 over lines: requests on stdin, answers and notifications on stdout. Nothing else may write to stdout.
'use strict'
console.log = console.info = console.debug = (...words) => console.error(...words)
const readline = require('readline')
const { createRequire } = require('module')
// Packages lie in a cache, not beside this file: an installed package's folder may be read-only.
const load = createRequire(require('path').join(process.argv[2], 'package.json'))
const mineflayer = load('mineflayer')
const pathfinder = load('mineflayer-pathfinder')
const { observe, stock } = require('./sight.js')
const { COMMANDS, Failed } = require('./commands.js')

const bots = new Map()
const jobs = new Map() // request id -> running command
const claims = new Map() // "x,y,z" -> agent
const world = { bots, claims, pathfinder, settings: {} }

const send = message => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n')
const news = (kind, agent, data) => send({ method: 'happening', params: { kind, agent, data } })

function watch (bot, name) {
  let health = 20
  let before = {}
  bot.on('health', () => {
    if (bot.health < health) news('damage', name, { amount: health - bot.health, health: bot.health })
    health = bot.health
  })
  bot.on('death', () => { bot.burnishAlive = false; news('death', name, {}) })
  bot.on('spawn', () => { bot.burnishAlive = true })
  bot.on('chat', (by, text) => { if (!bots.has(by)) news('chat', name, { by, text: String(text).slice(0, 500) }) })
  bot.inventory.on('updateSlot', () => {
    const now = stock(bot)
    for (const item in now) {
      if (now[item] > (before[item] || 0)) news('item', name, { item, count: now[item] - (before[item] || 0) })
    }
    before = now
  })
  bot.on('end', why => { if (bots.get(name) === bot) { bots.delete(name); news('disconnected', name, { why: String(why) }) } })
}

function connect ({ agent, ...settings }) {
  Object.assign(world.settings, settings)
  return new Promise((resolve, reject) => {
    const bot = mineflayer.createBot({
      host: settings.host, port: settings.port, username: agent, version: settings.version, auth: settings.auth,
      profilesFolder: settings.profiles, hideErrors: true, logErrors: false,
      onMsaCode: code => console.error(`sign in at ${code.verification_uri} with the code ${code.user_code}`)
    })
    bot.loadPlugin(pathfinder.pathfinder)
    const refuse = why => reject(new Failed(String(why && (why.code || why.message) ? why.code || why.message : JSON.stringify(why))))
    bot.once('error', refuse)
    bot.once('kicked', refuse)
    bot.once('end', refuse)
    bot.on('error', error => console.error(agent, error.message))
    bot.once('spawn', () => {
      bot.burnishAlive = true
      bot.burnishSeen = new Set()
      bot.pathfinder.setMovements(new pathfinder.Movements(bot))
      bot.pathfinder.thinkTimeout = 5000
      bots.set(agent, bot)
      watch(bot, agent)
      resolve({ at: observe(world, bot, agent).at })
    })
  })
}

async function act (id, { agent, command, arguments: given }) {
  const bot = bots.get(agent)
  if (!bot) throw new Failed(`${agent} is not connected`)
  if (!Object.hasOwn(COMMANDS, command)) throw new Failed(`there is no command \`${command}\`; known: ${Object.keys(COMMANDS).join(', ')}`)
  if (!bot.burnishAlive && !['release', 'close'].includes(command)) throw new Failed(`${agent} is dead`)
  for (const job of jobs.values()) if (job.agent === agent) throw new Failed(`${agent} does something else already: ${job.command}`)
  const job = { agent, command, cancelled: false }
  const stopped = new Promise((resolve, reject) => { job.reject = reject })
  stopped.catch(() => {})
  // What a library leaves hanging (a dig that nobody answers) must not outlive its command.
  job.during = promise => { promise.catch(() => {}); return Promise.race([promise, stopped]) }
  job.stop = () => {
    job.cancelled = true
    bot.pathfinder.setGoal(null)
    bot.clearControlStates()
    bot.stopDigging()
    if (bot.currentWindow) bot.closeWindow(bot.currentWindow)
    job.reject(new Failed('cancelled'))
  }
  jobs.set(id, job)
  try {
    return await COMMANDS[command](world, bot, given, job) || {}
  } finally { jobs.delete(id) }
}

async function answer ({ id, method, params }) {
  if (method === 'connect') return connect(params)
  if (method === 'act') return act(id, params)
  if (method === 'cancel') {
    const job = jobs.get(params.id)
    if (job) job.stop()
    return { cancelled: Boolean(job) }
  }
  if (method === 'observe') {
    const bot = bots.get(params.agent)
    if (!bot) throw new Failed(`${params.agent} is not connected`)
    return observe(world, bot, params.agent)
  }
  throw new Failed(`no method ${method}`)
}

readline.createInterface({ input: process.stdin }).on('line', async line => {
  let request
  try { request = JSON.parse(line) } catch { return send({ id: null, error: { code: -32700, message: 'not JSON' } }) }
  try {
    send({ id: request.id, result: await answer(request) })
  } catch (error) {
    if (!(error instanceof Failed)) console.error(error.stack)
    send({ id: request.id, error: { code: -32000, message: String(error.message).split('\n')[0] } })
  }
}).on('close', () => { for (const bot of bots.values()) bot.quit(); setTimeout(() => process.exit(0), 100) })
process.on('unhandledRejection', error => console.error(error && error.stack))
