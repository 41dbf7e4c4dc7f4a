// shunt completions: scripts for bash, zsh and fish. They complete commands, options, and the names of services, which
// they ask the running node for, quietly.

#include <fmt/format.h>

#include <string_view>

#include "cli/commands.h"
#include "cli/terminal.h"

namespace shunt::cli {
namespace {

constexpr std::string_view bash_script = R"script(# bash completion of shunt
_shunt() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} options=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "run call ps explain check new logs proto app reload stop version help completions --help --version" -- "$current"))
    return
  fi
  case $previous in
    --data | --out | -o) COMPREPLY=($(compgen -d -- "$current")); return ;;
    --tls) COMPREPLY=($(compgen -W "self" -- "$current")); return ;;
    --tls-client) COMPREPLY=($(compgen -W "required optional" -- "$current")); return ;;
    --tokens | --tls-cert | --tls-key | --tls-client-ca | --cacert | --cert | --key | --descriptor-set) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --at) COMPREPLY=($(compgen -W "http://127.0.0.1:8080 https://127.0.0.1:8443" -- "$current") $(compgen -d -- "$current")); return ;;
    --listen | -l) COMPREPLY=($(compgen -W "127.0.0.1:8080 127.0.0.1:0" -- "$current")); return ;;
  esac
  local node="--at --data --cacert --cert --key --insecure"
  case $command in
    run) options="--listen --data --dev --no-dev --tls --tls-cert --tls-key --tls-client-ca --tls-client --tokens --as-if-remote --loops --header-limit --body-limit --connection-limit
                  --header-timeout --idle-timeout --drain-timeout --json --help" ;;
    call) options="$node --timeout --metadata --content-type --help" ;;
    ps | explain) options="$node --json --help" ;;
    check) options="--json --help" ;;
    logs) options="--follow --lines $node --json --help" ;;
    proto) options="--out --descriptor-set $node --help" ;;
    app) options="--name --folder $node --json --help" ;;
    reload) options="$node --json --help" ;;
    stop) options="--no-wait $node --help" ;;
    version | help) options="--json --help" ;;
    *) options="--help" ;;
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")); return ;;
  esac
  case $command in
    run | check) COMPREPLY=($(compgen -d -- "$current") $(compgen -f -X '!*.json' -- "$current")) ;;
    call) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" ps --commands 2>/dev/null)" -- "$current")) ;;
    explain)
      if [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "gateway operator $("${COMP_WORDS[0]}" ps --names 2>/dev/null)" -- "$current"))
      else
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" ps --names 2>/dev/null) $("${COMP_WORDS[0]}" ps --commands 2>/dev/null)" -- "$current"))
      fi ;;
    logs | proto) COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" ps --names 2>/dev/null)" -- "$current")) ;;
    app) if [ "$COMP_CWORD" -eq 2 ]; then
           COMPREPLY=($(compgen -W "create attach-lib attach-exec detach set get state list" -- "$current"))
         else
           COMPREPLY=($(compgen -f -- "$current"))
         fi ;;
    new) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "python c++" -- "$current")) ;;
    completions) COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")) ;;
    help) COMPREPLY=($(compgen -W "run call ps explain check new logs proto app reload stop version completions" -- "$current")) ;;
  esac
}
complete -F _shunt shunt
)script";

constexpr std::string_view zsh_script = R"script(#compdef shunt
# zsh completion of shunt

_shunt_services() {
  local -a names
  names=(${(f)"$(shunt ps --names 2>/dev/null)"})
  compadd -a names
}

_shunt_calls() {
  local -a names
  names=(${(f)"$(shunt ps --commands 2>/dev/null)"})
  compadd -a names
}

_shunt() {
  local -a commands node
  commands=(
    'run:run apps'
    'call:call a command of a service'
    'ps:list services and their instances'
    'explain:tell which way a call takes'
    'logs:print what services logged'
    'proto:print the protobuf types of a service'
    'check:check manifests without running anything'
    'new:make the folder of a new service'
    'app:make apps and change them'
    'reload:take up what manifests and code say now'
    'stop:stop the node'
    'version:print the version'
    'help:explain an error by its id'
    'completions:print a completion script'
  )
  node=('--at[the node]:url:' '--data[data folder]:folder:_directories' '--cacert[whom to trust]:file:_files'
    '--cert[our certificate]:file:_files' '--key[its key]:file:_files' '--insecure[trust whoever answers]')
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
    run)
      _arguments '*'{-l,--listen}'[answer HTTP there]:address:(127.0.0.1\:8080 127.0.0.1\:0)' '--data[data folder]:folder:_directories' \
        '--dev[expose every service]' '--no-dev[expose what manifests expose]' '--tokens[bearer tokens]:file:_files' \
        '--tls[a certificate made for development]:what:(self)' '--tls-cert[certificate]:file:_files' \
        '--tls-key[its key]:file:_files' '--tls-client-ca[who signs clients]:file:_files' \
        '--tls-client[of clients]:how:(required optional)' \
        '--as-if-remote[calls in the process cross a wire]' '--loops[serving loops]:number:' '--header-limit[bytes]:size:' '--body-limit[bytes]:size:' \
        '--connection-limit[connections]:number:' '--header-timeout[time]:time:' '--idle-timeout[time]:time:' \
        '--drain-timeout[time]:time:' '--json[for programs]' '*:app:_files' ;;
    call)
      _arguments $node {-t,--timeout}'[deadline]:time:' '*'{-m,--metadata}'[KEY=VALUE]:metadata:' \
        '--content-type[send as it is]:type:' '1:command:_shunt_calls' '2:JSON:_files' ;;
    ps) _arguments $node '--json[for programs]' ;;
    explain) _arguments $node '--json[for programs]' '1:caller:_shunt_services' '2:callee:_shunt_calls' ;;
    logs)
      _arguments $node {-f,--follow}'[go on printing]' {-n,--lines}'[lines to begin with]:number:' '--json[for programs]' \
        '1:service:_shunt_services' ;;
    proto)
      _arguments $node {-o,--out}'[write all files below]:folder:_directories' \
        '--descriptor-set[write descriptors]:file:_files' '1:service:_shunt_services' ;;
    check) _arguments '--json[for programs]' '*:app:_files' ;;
    new) _arguments '1:language:(python c++)' '2:name:' ;;
    app)
      _arguments $node '--json[for programs]' '--name[the service]:name:' '--folder[where]:folder:_directories' \
        '1:what:(create attach-lib attach-exec detach set get state list)' '*:file:_files' ;;
    reload) _arguments $node '--json[for programs]' ;;
    stop) _arguments $node '--no-wait[return at once]' ;;
    version) _arguments '--json[for programs]' ;;
    help) _arguments '--json[for programs]' '1:command:(run call ps explain logs proto check new app reload stop version completions)' ;;
    completions) _arguments '1:shell:(bash zsh fish)' ;;
  esac
}

if [ "$funcstack[1]" = _shunt ]; then _shunt "$@"; else compdef _shunt shunt; fi
)script";

constexpr std::string_view fish_script = R"script(# fish completion of shunt
complete -c shunt -f
complete -c shunt -n __fish_use_subcommand -l help -d 'Print help'
complete -c shunt -n __fish_use_subcommand -l version -d 'Print the version'
complete -c shunt -n __fish_use_subcommand -a run -d 'Run apps'
complete -c shunt -n __fish_use_subcommand -a call -d 'Call a command of a service'
complete -c shunt -n __fish_use_subcommand -a ps -d 'List services and their instances'
complete -c shunt -n __fish_use_subcommand -a explain -d 'Tell which way a call takes'
complete -c shunt -n __fish_use_subcommand -a logs -d 'Print what services logged'
complete -c shunt -n __fish_use_subcommand -a proto -d 'Print the protobuf types of a service'
complete -c shunt -n __fish_use_subcommand -a check -d 'Check manifests'
complete -c shunt -n __fish_use_subcommand -a new -d 'Make the folder of a new service'
complete -c shunt -n __fish_use_subcommand -a app -d 'Make apps and change them'
complete -c shunt -n __fish_use_subcommand -a reload -d 'Take up what manifests and code say now'
complete -c shunt -n __fish_use_subcommand -a stop -d 'Stop the node'
complete -c shunt -n __fish_use_subcommand -a version -d 'Print the version'
complete -c shunt -n __fish_use_subcommand -a help -d 'Explain an error by its id'
complete -c shunt -n __fish_use_subcommand -a completions -d 'Print a completion script'

complete -c shunt -n '__fish_seen_subcommand_from run check' -F
complete -c shunt -n '__fish_seen_subcommand_from run' -s l -l listen -x -a '127.0.0.1:8080 127.0.0.1:0' -d 'Answer HTTP there'
complete -c shunt -n '__fish_seen_subcommand_from run' -l dev -d 'Expose every service'
complete -c shunt -n '__fish_seen_subcommand_from run' -l as-if-remote -d 'Calls in the process cross a wire'
complete -c shunt -n '__fish_seen_subcommand_from run' -l no-dev -d 'Expose what manifests expose'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tls -x -a self -d 'A certificate made for development'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tls-cert -r -F -d 'Certificate'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tls-key -r -F -d 'Its key'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tls-client-ca -r -F -d 'Who signs clients'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tls-client -x -a 'required optional' -d 'Of clients'
for name in cacert cert key
    complete -c shunt -n '__fish_seen_subcommand_from call ps explain logs proto app reload stop' -l $name -r -F
end
complete -c shunt -n '__fish_seen_subcommand_from call ps explain logs proto app reload stop' -l insecure -d 'Trust whoever answers'
complete -c shunt -n '__fish_seen_subcommand_from run' -l tokens -r -F -d 'File of bearer tokens'
for name in loops header-limit body-limit connection-limit header-timeout idle-timeout drain-timeout
    complete -c shunt -n '__fish_seen_subcommand_from run' -l $name -x
end
complete -c shunt -n '__fish_seen_subcommand_from call' -a '(shunt ps --commands 2>/dev/null)'
complete -c shunt -n '__fish_seen_subcommand_from call' -s t -l timeout -x -d Deadline
complete -c shunt -n '__fish_seen_subcommand_from call' -s m -l metadata -x -d KEY=VALUE
complete -c shunt -n '__fish_seen_subcommand_from call' -l content-type -x -d 'Send the request as it is'
complete -c shunt -n '__fish_seen_subcommand_from explain' -a '(shunt ps --names 2>/dev/null; shunt ps --commands 2>/dev/null)'
complete -c shunt -n '__fish_seen_subcommand_from logs proto' -a '(shunt ps --names 2>/dev/null)'
complete -c shunt -n '__fish_seen_subcommand_from proto' -s o -l out -x -a '(__fish_complete_directories)' -d 'Write all files below'
complete -c shunt -n '__fish_seen_subcommand_from proto' -l descriptor-set -r -F -d 'Write descriptors'
complete -c shunt -n '__fish_seen_subcommand_from logs' -s f -l follow -d 'Go on printing'
complete -c shunt -n '__fish_seen_subcommand_from logs' -s n -l lines -x -d 'Lines to begin with'
complete -c shunt -n '__fish_seen_subcommand_from stop' -l no-wait -d 'Return at once'
complete -c shunt -n '__fish_seen_subcommand_from call ps explain logs proto app reload stop' -l at -x -d 'The node'
complete -c shunt -n '__fish_seen_subcommand_from run call ps explain logs proto app reload stop' -l data -x -a '(__fish_complete_directories)' -d 'Data folder'
complete -c shunt -n '__fish_seen_subcommand_from run ps explain logs check app reload version help' -l json -d 'For programs'
complete -c shunt -n '__fish_seen_subcommand_from app' -F -a 'create attach-lib attach-exec detach set get state list'
complete -c shunt -n '__fish_seen_subcommand_from app' -l name -x -d 'The service'
complete -c shunt -n '__fish_seen_subcommand_from app' -l folder -x -a '(__fish_complete_directories)' -d Where
complete -c shunt -n '__fish_seen_subcommand_from new' -a 'python c++'
complete -c shunt -n '__fish_seen_subcommand_from completions' -a 'bash zsh fish'
complete -c shunt -n '__fish_seen_subcommand_from help' -a 'run call ps explain logs proto check new app reload stop version completions'
)script";

}  // namespace

int completions(const CompletionsCommand& command) {
  if (command.shell == "bash") {
    write_out(bash_script);
  } else if (command.shell == "zsh") {
    write_out(zsh_script);
  } else if (command.shell == "fish") {
    write_out(fish_script);
  } else {
    return report(Status(Code::invalid_argument, "S5016",
                         fmt::format("there are no completions for '{}'. There are: bash, zsh, fish.", command.shell)));
  }
  return 0;
}

}  // namespace shunt::cli
