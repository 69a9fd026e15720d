"""Many requests at a time: `Client.map`, its checkpoint, and the frontier that makes a crawler of it."""
