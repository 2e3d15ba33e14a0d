import type { AddressInfo } from 'node:net'
import { connect } from './db.ts'
import { createApp } from './server.ts'

const databaseUrl = process.env['DATABASE_URL']
if (!databaseUrl) {
  console.error('DATABASE_URL is not set; expected a URL such as postgres://user:password@localhost:5432/marketplace')
  process.exit(2)
}
const port = Number(process.env['APP_PORT'] ?? '3000')
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`APP_PORT is "${process.env['APP_PORT']}"; expected a port number, or 0 for any free one`)
  process.exit(2)
}

const db = connect(databaseUrl)
const app = createApp(db)

app.on('error', (error) => {
  console.error(`cannot listen on port ${port}: ${error.message}; set APP_PORT to a free port`)
  process.exit(2)
})
app.listen(port, 'localhost', () => {
  console.log(`the marketplace is at http://localhost:${(app.address() as AddressInfo).port}`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    app.close(() => void db.$disconnect())
    app.closeAllConnections()
  })
}
