/** The help texts. */
import type { Flag } from './args.js';
import type { Command } from './commands/index.js';
import { columns } from './output.js';

const codes = `exit codes
  0    done
  1    the run failed
  2    wrong usage of the command line
  3    a configuration, a script or data are wrong: nothing has run
  130  interrupted (Ctrl-C, SIGTERM); a training has saved a checkpoint`;

const flagText = ({ name, short, value }: Flag): string => `${short ? `-${short}, ` : '    '}--${name}${value ? ` ${value}` : ''}`;

export function overview(commands: readonly Command[]): string {
  const rows = commands.map(({ name, summary }) => [name, summary]);
  return `usage: trireme <command> [arguments]

Deep learning for TypeScript: train, evaluate and use models from the terminal.

commands
${columns(rows, '  ')}

A script exports defineRun({ ... }) of @trireme/cli by default; a configuration is a YAML file.
trireme help <command> tells more; trireme --version the version.

${codes}
`;
}

export function commandHelp({ name, usage, summary, details, flags }: Command): string {
  const rows = flags.map((flag) => [
    flagText(flag),
    flag.choices && flag.choices.length > 1 ? `${flag.help} [${flag.choices.join('|')}]` : flag.help,
  ]);
  return `usage: trireme ${name}${usage === '' ? '' : ` ${usage}`}

${summary.charAt(0).toUpperCase()}${summary.slice(1)}.
${details === undefined ? '' : `\n${details}\n`}
options
${columns(rows, '  ')}

${codes}
`;
}
