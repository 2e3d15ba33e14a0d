/** How long a test waits for something that has to happen. */
export const PATIENCE_MS = Number(process.env.ROWCAST_TEST_PATIENCE_MS ?? 15_000)

/** Settles as `promise` does, or fails with `describe()` when it takes too long. */
export async function within(promise, describe, milliseconds = PATIENCE_MS) {
  let timer
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${milliseconds} ms for ${describe()}`)), milliseconds)
  })
  try {
    return await Promise.race([promise, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again until `probe` gives something truthy: for conditions that announce themselves to nobody. */
export async function until(probe, describe, milliseconds = PATIENCE_MS) {
  const end = Date.now() + milliseconds
  for (;;) {
    const answer = await probe()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`waited ${milliseconds} ms for ${describe()}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}
