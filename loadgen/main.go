// Command loadgen replays agent trajectories through a batching proxy and reports the throughput
// at each batch setting. Package command is the whole of it.
package main

import (
	"os"

	"paceline/loadgen/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
