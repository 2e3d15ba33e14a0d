import { startApp } from './app.mjs'
import { createMarketplace } from './database.mjs'
import { installMarker } from './marker.mjs'
import { migrate, startService } from './service.mjs'
import { connect } from './socket.mjs'

/**
 * What most tests stand on: a database with the marketplace, the service on it, the application beside it; the service with
 * the rules of the directory `catalog` and the settings `gateway` and `auth` (see startService), where they are given.
 * `end` stops everything, the last first.
 */
export async function stage({ app = true, catalog, gateway, auth } = {}) {
  const endings = []
  const end = () => runAll(endings.splice(0).reverse())
  try {
    const database = await createMarketplace()
    endings.push(database.drop)
    await installMarker(database)
    await migrate(database.url)
    const application = app ? await startApp(database.url) : null
    if (application) endings.push(application.stop)
    const service = await startService(database.url, { origin: application?.url, catalog, gateway, auth })
    endings.push(service.stop)

    return {
      database,
      app: application,
      service,
      end,
      atTheEnd: (ending) => endings.push(ending),
      async connect(userId, options) {
        const frontend = await connect(service.url, userId, options)
        endings.push(async () => frontend.close())
        return frontend
      },
    }
  } catch (error) {
    await end().catch((another) => (error.message += `\nand while cleaning up: ${another.message}`))
    throw error
  }
}

/** Each of them, also after one that failed. */
async function runAll(endings) {
  const failures = []
  for (const ending of endings) {
    try {
      await ending()
    } catch (error) {
      failures.push(error.message)
    }
  }
  if (failures.length > 0) throw new Error(failures.join('\n'))
}
