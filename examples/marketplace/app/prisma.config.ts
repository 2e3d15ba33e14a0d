import { defineConfig } from 'prisma/config'

export default defineConfig({
  schema: 'prisma/schema.prisma',
  // Generating the client needs no database, hence the empty default.
  datasource: { url: process.env['DATABASE_URL'] ?? '' },
})
