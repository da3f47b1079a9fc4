// flying-squid on 127.0.0.1, a free port, a flat world, with a command that crafts: its windows do not.
'use strict'
const { createRequire } = require('module')
const load = createRequire(require('path').join(process.argv[2], 'package.json'))
const squid = load('flying-squid')
const Item = load('prismarine-item')('1.20.4')

const serv = squid.createMCServer({
  motd: 'test', host: '127.0.0.1', port: 0, 'max-players': 10, 'online-mode': false, logging: false, gameMode: 0, difficulty: 0,
  generation: { name: 'superflat', options: { seed: 7, worldHeight: 80 } },
  kickTimeout: 10000, plugins: {}, modpe: false, 'view-distance': 3,
  'player-list-text': { header: { text: '' }, footer: { text: '' } },
  'everybody-op': true, 'max-entities': 50, version: '1.20.4'
})

serv.on('listening', () => {
  serv.commands.add({
    base: 'craft',
    info: 'Crafts.',
    usage: '/craft <item> <made> <uses as JSON> <times>',
    op: false,
    parse: text => text.match(/^([a-z_]+) (\d+) (\{.*\}) (\d+)$/) || false,
    action (found, { player }) {
      const uses = Object.entries(JSON.parse(found[3])).map(([name, count]) => [serv.registry.itemsByName[name].id, count * found[4]])
      const slots = player.inventory.slots
      const count = id => slots.reduce((sum, slot) => sum + (slot && slot.type === id ? slot.count : 0), 0)
      if (uses.some(([id, need]) => count(id) < need)) return 'too little'
      for (const [id, need] of uses) {
        let left = need
        for (let place = 0; place < slots.length && left > 0; place++) {
          const slot = slots[place]
          if (!slot || slot.type !== id) continue
          const taken = Math.min(left, slot.count)
          left -= taken
          player.inventory.updateSlot(place, slot.count > taken ? new Item(id, slot.count - taken) : null)
        }
      }
      const made = serv.registry.itemsByName[found[1]].id
      const same = slots.findIndex(slot => slot && slot.type === made)
      const place = same >= 0 ? same : player.inventory.firstEmptyInventorySlot()
      player.inventory.updateSlot(place, new Item(made, (same >= 0 ? slots[same].count : 0) + Number(found[2])))
    }
  })
  process.stdout.write(JSON.stringify({ port: serv._server.socketServer.address().port }) + '\n')
})
process.stdin.resume().on('end', () => process.exit(0))
