// What ends the command: a message for the one who typed it, and the exit code.

export class Failure extends Error {
  constructor(exitCode, message) {
    super(message)
    this.exitCode = exitCode
  }
}
