//go:build !race

package costs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher"
	"paceline/sglang/sim"
)

// nearBest is how near the proxy's defaults must come to the best of the fixed settings.
const nearBest = 0.85

// others are settings beside the defaults: size, batches in flight and wait.
var others = []struct {
	size, inFlight int
	wait           time.Duration
}{
	{16, 2, 5 * time.Millisecond},
	{16, 8, time.Millisecond},
	{16, 16, 200 * time.Microsecond},
	{32, 8, 200 * time.Microsecond},
	{64, 4, 200 * time.Microsecond},
	{64, 8, 200 * time.Microsecond},
}

func TestTheDefaultsAreNearTheBestSettingOfEachWorkload(t *testing.T) {
	all := []batcher.Settings{batcher.DefaultSettings()}
	table := "| | | defaults |"
	for _, o := range others {
		s := batcher.DefaultSettings()
		s.BatchSize, s.MaxInFlight, s.MaxWait = o.size, o.inFlight, o.wait
		all = append(all, s)
		table += fmt.Sprintf(" %d, %d in flight, %v |", o.size, o.inFlight, o.wait)
	}
	unbatched := batcher.DefaultSettings()
	unbatched.Mode = batcher.ModeUnbatched
	all = append(all, unbatched)
	table += " unbatched |\n" + strings.Repeat("|---", len(all)+2) + "|\n"
	turns, rollouts := prompts(500, 1), prompts(60, 8)
	for _, tokenizers := range []int{1, 8} {
		for _, callers := range []int{1, 4, 64, 256} {
			for _, what := range []string{"cold", "warm", "rollouts"} {
				load := turns[:min(500, 40*callers)]
				if what == "rollouts" {
					load = rollouts
				}
				table += fmt.Sprintf("| %s, %d tokenizers | %d callers |", what, tokenizers, callers)
				best := 0.0
				var first float64
				for i, s := range all {
					s.MergeIdentical = false // the load has no copies that agents would not answer on their own
					rate := simulated(t, tokenizers, callers, load, what == "warm", s)
					if i == 0 {
						first = rate
					}
					best = max(best, rate)
					table += fmt.Sprintf(" %.4g |", rate)
				}
				if table += "\n"; first < nearBest*best {
					t.Errorf("%s, %d tokenizers, %d callers: the defaults make %.1f requests/s, the best %.1f", what, tokenizers, callers, first, best)
				}
			}
		}
	}
	t.Logf("\n%s", table)
}

// simulated returns the requests/s of one setting.
func simulated(t *testing.T, tokenizers, callers int, load []prompt, warm bool, set batcher.Settings) (rate float64) {
	synctest.Test(t, func(t *testing.T) {
		p := h100()
		if tokenizers > 1 {
			p.Tokenizers, p.ScheduleSeconds = tokenizers, p.ScheduleSeconds*lpmSchedule
		}
		s, err := sim.New(sim.Options{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if warm {
			closedLoop(t, s, load, "16", callers)
		}
		rate = closedLoopOf(t, s, load, &set, callers)
	})
	return rate
}
