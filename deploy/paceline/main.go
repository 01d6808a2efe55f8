// Command paceline is the proxy and the load generator in one binary, for images and wheels.
package main

import (
	"fmt"
	"io"
	"os"

	loadgen "paceline/loadgen/command"
	proxy "paceline/proxy/command"
	"paceline/proxy/version"
)

const usage = `paceline batches requests in front of an SGLang server, and measures what that gains.

  paceline proxy -upstream http://127.0.0.1:30000
  paceline loadgen
  paceline status                             what a running proxy holds, has done and is set to
  paceline set batch_size=8 max_wait=5ms      change its settings while it serves
  paceline version                            version, commit and date

paceline proxy -h and paceline loadgen -h have the flags.
`

const exitBadInput = 2

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "proxy":
		return proxy.Main(args)
	case "status", "set":
		return proxy.Main(append([]string{name}, args...))
	case "loadgen":
		return loadgen.Main(args)
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "paceline", version.Full()) //nolint:errcheck // nowhere else to tell
		return 0
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage) //nolint:errcheck // as above
		return 0
	case "":
		fmt.Fprint(stderr, usage) //nolint:errcheck // as above
		return exitBadInput
	}
	fmt.Fprintf(stderr, "paceline: %q is not a command: proxy, loadgen, status, set or version\n", name) //nolint:errcheck // as above
	return exitBadInput
}
