import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'

/**
 * What was heard, by the names of those who heard the same, with a name in the place of what differs from run to run: ids
 * that were made, times, positions.
 */
export function settled(heard) {
  const same = new Map()
  for (const [role, events] of Object.entries(heard)) {
    const known = events.map(named)
    const key = JSON.stringify(known)
    const before = same.get(key)
    same.set(key, { roles: [...(before?.roles ?? []), role], known })
  }
  const entries = [...same.values()].map(({ roles, known }) => [roles.join(', '), known.length === 1 ? known[0] : known])
  return Object.fromEntries(entries)
}

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
const NUMBER = /\b[QW]-[0-9A-Z]{8}-\d{1,6}\b/g

function named(event) {
  const { metadata } = event
  const whole = {
    ...event,
    timestamp: event.timestamp.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, '<time>'),
    metadata: {
      ...metadata,
      id: metadata.id.replace(/^\d+-\d+-/, '<change>-'),
      position: metadata.position.replace(/^[\w.:-]+$/, '<position>'),
      txid: metadata.txid.replace(/^\d+$/, '<txid>'),
    },
  }
  // Those that are the same have the same name.
  const names = new Map()
  const name = (id) => {
    if (!names.has(id)) names.set(id, `<id ${names.size + 1}>`)
    return names.get(id)
  }
  return JSON.parse(JSON.stringify(whole).replaceAll(UUID, name).replaceAll(NUMBER, '<number>'))
}

/** A file of what was found earlier, by name; with ROWCAST_UPDATE_SNAPSHOT=1 it takes what is found now. */
export async function openSnapshot(file) {
  const updates = process.env.ROWCAST_UPDATE_SNAPSHOT === '1'
  const text = await readFile(file, 'utf8').catch((error) => {
    if (error.code === 'ENOENT' && updates) return '{}'
    throw error
  })
  const known = JSON.parse(text)
  const found = {}
  return {
    compare(name, value) {
      assert.ok(!(name in found), `two rows have the name ${name}`)
      found[name] = value
      if (updates) return
      assert.ok(name in known, `${name} is not in ${file.pathname}; look at what is heard, and take it with ROWCAST_UPDATE_SNAPSHOT=1`)
      assert.deepEqual(value, known[name])
    },
    async close() {
      if (updates) await writeFile(file, `${JSON.stringify(found, null, 2)}\n`)
    },
    /** Those that nothing was compared with. */
    left: () => (updates ? [] : Object.keys(known).filter((name) => !(name in found))),
  }
}
