import assert from 'node:assert/strict'

/** The data of an event is exactly `expected`. */
export const exactly = (expected) => (actual) => assert.deepEqual(actual, expected)

/** The data of an event has what `expected` has, and may have more. */
export const atLeast = (expected) => (actual) =>
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, actual[key]])), expected)

/** The same check for each of these roles. */
export const each = (roles, check) => Object.fromEntries(roles.map((role) => [role, check]))
