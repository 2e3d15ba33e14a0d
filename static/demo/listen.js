// For a database without a shop: listening as whom one likes, in the rooms that one likes.

import { byId, setText } from './dom.js';

/** Rooms that were joined by hand: they do not outlive a connection, so they are joined again. */
const rooms = new Set();

/** Lets the visitor choose a user by id, for `become(userId)`, and rooms of that user's `side`. */
export function offerListening(side, become) {
  byId('listen').addEventListener('submit', (submit) => {
    submit.preventDefault();
    rooms.clear();
    setText(byId('join-ack'), '');
    become(new FormData(submit.target).get('user').trim());
  });

  byId('join').addEventListener('submit', async (submit) => {
    submit.preventDefault();
    const room = new FormData(submit.target).get('room').trim();
    const answer = await side.ask('join', { room });
    if (answer === null) return;
    if (answer.success) rooms.add(room);
    setText(byId('join-ack'), answer.success ? `Live in room ${answer.room}.` : `Refused: ${answer.error}.`);
  });
}

/** After each connect. */
export async function joinAgain(side) {
  const joined = [...rooms].map(async (room) => ({ room, answer: await side.ask('join', { room }) }));
  for (const { room, answer } of await Promise.all(joined)) {
    if (answer?.success === false) setText(byId('join-ack'), `Room ${room} could not be joined again: ${answer.error}.`);
  }
}
