package suggest

import (
	"flag"
	"io"
	"testing"
)

func TestAnUnknownFlagIsAnsweredWithTheNearestIfOneIsNear(t *testing.T) {
	for args, want := range map[string]string{
		"-batch-sise=3": "-batch-sise: not a flag: is -batch-size meant?",
		"--max-wayt=1s": "-max-wayt: not a flag: is -max-wait meant?",
		"-grpc=:1":      "-grpc: not a flag, see -h",
		"-max=1s":       "-max: not a flag: is -max-wait meant?",
		"-batch-size=x": `invalid value "x" for flag -batch-size: parse error`,
	} {
		f := flag.NewFlagSet("", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		f.Int("batch-size", 1, "")
		f.Duration("max-wait", 1, "")
		if err := Flag(f, f.Parse([]string{args})); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
