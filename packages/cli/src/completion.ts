/** Completion scripts for shells, from the table of commands. */
import type { Flag } from './args.js';
import type { Command } from './commands/index.js';
import { UsageError } from './errors.js';
import { suggestion } from './suggest.js';

const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
/** The first argument is a file with one of these endings, not a word. */
const takesFile = ({ first = [] }: Command): boolean => first.includes('yaml') || first.includes('onnx');

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const { name, flags, first = [] } = command;
    const words = flags.flatMap((flag) => [`--${flag.name}`, ...(flag.short ? [`-${flag.short}`] : [])]);
    const others = name === 'help' ? commands.map((c) => c.name) : takesFile(command) ? [] : first;
    return `    ${name}) words=${single([...words, ...others].join(' '))};;`;
  });
  const values = uniqueFlags(commands).filter((flag) => flag.value !== undefined);
  const valueCases = values.map(({ name, short, choices }) => {
    const pattern = [`--${name}`, ...(short ? [`-${short}`] : [])].join('|');
    return `    ${pattern}) ${choices ? `COMPREPLY=($(compgen -W ${single(choices.join(' '))} -- "$cur")); ` : ''}return;;`;
  });
  return `# bash completion of trireme
_trireme() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" words
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${single([...commands.map((c) => c.name), '--help', '--version'].join(' '))} -- "$cur"))
    return
  fi
  case "$prev" in
${valueCases.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) return;;
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur"));;
    *) case "\${COMP_WORDS[1]}" in
      help|completion) COMPREPLY=($(compgen -W "$words" -- "$cur"));;
    esac;;
  esac
}
complete -o default -F _trireme trireme
`;
}

function uniqueFlags(commands: readonly Command[]): Flag[] {
  const found = new Map<string, Flag>();
  for (const flag of commands.flatMap((command) => command.flags)) found.set(flag.name, flag);
  return [...found.values()];
}

function zsh(commands: readonly Command[]): string {
  const plain = (text: string): string => text.replaceAll(/[[\]:]/g, ' ');
  const spec = ({ name, short, value, help, choices, many, path }: Flag): string => {
    const action = value === undefined ? '' : `:${value}:${choices ? `(${choices.join(' ')})` : path ? '_files' : ''}`;
    const names = short ? `{-${short},--${name}}` : `--${name}`;
    return `${many ? single('*') : ''}${names}${single(`[${plain(help)}]${action}`)}`;
  };
  const cases = commands.map((command) => {
    const { name, flags, first = [] } = command;
    const argument = takesFile(command)
      ? [single(`1:run:_files -g "*.(${first.join('|')})"`), single('*:input:_files')]
      : name === 'help'
        ? [single(`1:command:(${commands.map((c) => c.name).join(' ')})`)]
        : first.length > 0
          ? [single(`1:argument:(${first.join(' ')})`)]
          : [];
    return `    ${name}) _arguments ${[...flags.map(spec), ...argument].join(' ')} ;;`;
  });
  return `#compdef trireme
_trireme() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${single(`${name}:${plain(summary)}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
  esac
}
compdef _trireme trireme
`;
}

function fish(commands: readonly Command[]): string {
  const names = commands.map((command) => command.name).join(' ');
  const lines = ['# fish completion of trireme', `set -l commands ${names}`];
  for (const { name, summary } of commands) {
    lines.push(`complete -c trireme -f -n "not __fish_seen_subcommand_from $commands" -a ${name} -d ${single(summary)}`);
  }
  for (const command of commands) {
    const seen = `-n "__fish_seen_subcommand_from ${command.name}"`;
    for (const { name, short, value, help, choices, path } of command.flags) {
      const kind = value === undefined ? '' : choices ? ` -x -a ${single(choices.join(' '))}` : path ? ' -r' : ' -x';
      lines.push(`complete -c trireme ${seen} -l ${name}${short ? ` -s ${short}` : ''}${kind} -d ${single(help)}`);
    }
    const words = command.name === 'help' ? names : takesFile(command) ? '' : (command.first ?? []).join(' ');
    if (words !== '') lines.push(`complete -c trireme -f ${seen} -a ${single(words)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** @throws UsageError for another shell */
export function completion(shell: string, commands: readonly Command[]): string {
  if (shell === 'bash') return bash(commands);
  if (shell === 'zsh') return zsh(commands);
  if (shell === 'fish') return fish(commands);
  throw new UsageError(`there is no completion for ${shell}`, suggestion(shell, ['bash', 'zsh', 'fish']));
}
