package sweep

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/report"
)

// Cards samples the cards of this machine through nvidia-smi. The zero value samples nothing.
type Cards struct {
	Path string // of nvidia-smi
}

// FindCards returns Cards if nvidia-smi is on this machine.
func FindCards() Cards {
	path, _ := exec.LookPath("nvidia-smi") // without one the path is empty
	return Cards{path}
}

// sampling is the time between two samples.
const sampling = 200 * time.Millisecond

// query is what nvidia-smi is asked for, in the order of cardSample.
const query = "index,power.draw,clocks.sm,utilization.gpu,clocks_throttle_reasons.active"

// cardSample is a line of nvidia-smi.
type cardSample struct {
	card             string
	watts, mhz, busy float64 // busy in percent
	throttled        uint64  // bits, as NVML has them
}

// throttleReasons are the bits that say that a card is slower than it could be: not idle, and not as it was
// set.
var throttleReasons = []struct {
	bit  uint64
	name string
}{{0x4, "power cap"}, {0x8, "hardware slowdown"}, {0x20, "heat (software)"}, {0x40, "heat (hardware)"}, {0x80, "power brake"}}

// watch samples until the returned function is called, which sums up: nil if nothing was sampled, no card was
// used, or nvidia-smi wrote what is not understood.
func (c Cards) watch(ctx context.Context, log *slog.Logger) (stop func() *report.Cards) {
	if c.Path == "" {
		return func() *report.Cards { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, c.Path, "--query-gpu="+query, "--format=csv,noheader,nounits", //nolint:gosec // found on PATH
		"-lms", strconv.FormatInt(sampling.Milliseconds(), 10))
	cmd.WaitDelay = time.Second
	var samples []cardSample
	var wrong error
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		log.Warn("sample the cards", "error", err)
		return func() *report.Cards { return nil }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		samples, wrong = readSamples(out)
		_, _ = io.Copy(io.Discard, out) // until it ends, so that it never waits
	}()
	return func() *report.Cards {
		cancel()
		<-done
		_ = cmd.Wait() // it was killed
		if wrong != nil {
			log.Warn("sample the cards", "error", wrong)
			return nil
		}
		return sumUp(samples)
	}
}

// readSamples reads whole lines until the end. Its error names the field that is not understood.
func readSamples(r io.Reader) (all []cardSample, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return all, nil //nolint:nilerr // the end, or a line that was cut when nvidia-smi was killed
		}
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 5 {
			return nil, fmt.Errorf("nvidia-smi: expected %s, got %d fields", query, len(fields))
		}
		s := cardSample{card: strings.TrimSpace(fields[0])}
		for i, to := range []*float64{&s.watts, &s.mhz, &s.busy} {
			if *to, err = strconv.ParseFloat(strings.TrimSpace(fields[i+1]), 64); err != nil || !(*to >= 0 && *to < 1e6) {
				return nil, fmt.Errorf("nvidia-smi: %s: expected a number of at least 0, got %q", strings.Split(query, ",")[i+1], fields[i+1])
			}
		}
		if s.throttled, err = strconv.ParseUint(strings.TrimSpace(fields[4]), 0, 64); err != nil {
			return nil, fmt.Errorf("nvidia-smi: clocks_throttle_reasons.active: expected bits such as 0x4, got %q", fields[4])
		}
		all = append(all, s)
	}
}

// sumUp sums the cards that were used.
func sumUp(samples []cardSample) *report.Cards {
	used := map[string]float64{} // samples of the cards that were busy in one
	for _, s := range samples {
		if s.busy > 0 {
			used[s.card] = 0
		}
	}
	n := 0.0
	c := report.Cards{Count: len(used), Throttled: map[string]float64{}}
	for _, s := range samples {
		if _, ok := used[s.card]; !ok {
			continue
		}
		used[s.card]++
		n++
		c.ClockMHz, c.Used = c.ClockMHz+s.mhz, c.Used+s.busy/100
		for _, reason := range throttleReasons {
			if s.throttled&reason.bit != 0 {
				c.Throttled[reason.name]++
			}
		}
	}
	if n == 0 {
		return nil
	}
	for _, s := range samples {
		if of := used[s.card]; of > 0 {
			c.Watts += s.watts / of
		}
	}
	c.ClockMHz, c.Used = c.ClockMHz/n, c.Used/n
	for name := range c.Throttled {
		c.Throttled[name] /= n
	}
	return &c
}
