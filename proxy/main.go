// Command proxy is a gRPC batching proxy in front of an SGLang server. Package command is the
// whole of it.
package main

import (
	"os"

	"paceline/proxy/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
