package main

import (
	"errors"
	"flag"
	"io"
)

// parseFlags reads args into the flags of a subcommand. flag.ErrHelp means that its usage
// was printed to w.
func parseFlags(f *flag.FlagSet, args []string, usage string, w io.Writer) error {
	f.SetOutput(io.Discard) // one message, ours
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(w, usage) // nowhere else to tell
		f.SetOutput(w)
		f.PrintDefaults()
	}
	return err
}
