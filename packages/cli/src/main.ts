#!/usr/bin/env node
/** The `trireme` command. */
import process from 'node:process';
import { runCommandLine } from './cli.js';

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
process.exitCode = await runCommandLine(process.argv.slice(2));
// A script may have left something open; the work is done.
setTimeout(() => process.exit(), 2000).unref();
