//go:build !race

package costs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paceline/batcher"
	"paceline/batcher/prefix"
	"paceline/sglang/sim"
)

// cell is one figure of the reference.
type cell struct {
	what, setting string
	real          float64 // requests/s, median
	low, high     float64 // of the repeats
	within        float64 // share of real that the simulator may be off by, where it leaves that range
	run           func(t *testing.T, s *sim.Server) float64
}

// The figures of 27 November 2026: sweep-fcfs, sweep-lpm-8-tokenizers and rollouts-fcfs of
// the reference, and the tables of docs/benchmarks.md.
func cells() []cell {
	var all []cell
	turns, rollouts := prompts(500, 1), prompts(60, 8)
	for _, one := range []struct {
		what, setting   string
		real, low, high float64
	}{
		{"cold", "1", 43.5, 43.4, 43.7}, {"cold", "2", 49.0, 48.8, 49.2}, {"cold", "4", 52.7, 52.5, 52.8},
		{"cold", "8", 55.0, 54.8, 55.4}, {"cold", "16", 57.8, 57.3, 57.9},
		{"cold", "unbatched", 58.7, 58.7, 58.7}, {"cold", "direct", 59.2, 59.2, 59.5},
		{"warm", "1", 45.9, 43.4, 55.6}, {"warm", "2", 125, 117, 151}, {"warm", "4", 289, 274, 291}, {"warm", "8", 451, 322, 542},
		{"warm", "16", 628, 597, 696}, {"warm", "unbatched", 490, 485, 522},
		{"warm", "direct", 115, 110, 161},
		{"cold, 8 tokenizers", "16", 57.1, 56.5, 57.2}, {"cold, 8 tokenizers", "64", 55.6, 55.1, 56.8},
		{"cold, 8 tokenizers", "unbatched", 58.7, 58.5, 58.8}, {"cold, 8 tokenizers", "direct", 58.5, 58.3, 58.6},
		{"warm, 8 tokenizers", "16", 450, 433, 510}, {"warm, 8 tokenizers", "64", 548, 495, 635},
		{"warm, 8 tokenizers", "unbatched", 607, 584, 628}, {"warm, 8 tokenizers", "direct", 526, 475, 556},
		{"warm, 256 callers", "16", 515, 499, 531}, {"warm, 256 callers", "64", 1025, 1007, 1043},
		{"warm, 256 callers", "unbatched", 348, 334, 362}, {"warm, 256 callers", "direct", 118, 106, 129},
		{"cold, 4 callers", "unbatched", 48.6, 48.6, 48.6}, {"cold, 4 callers", "direct", 50.5, 50.5, 50.5},
		{"warm, 4 callers", "unbatched", 120, 107, 130}, {"warm, 4 callers", "direct", 73.7, 73.7, 73.7},
		{"cold, 1 caller", "unbatched", 31.6, 31.6, 31.6}, {"cold, 1 caller", "direct", 26.1, 26.1, 26.1},
		{"warm, 1 caller", "unbatched", 38.1, 38.1, 38.1}, {"warm, 1 caller", "direct", 28.0, 28.0, 28.0},
		{"rollouts", "16, fifo", 69.5, 66.7, 71.0}, {"rollouts", "16, prefix", 264, 242, 272},
		{"rollouts", "unbatched", 72.9, 70.8, 75.6}, {"rollouts", "direct", 72.0, 70.1, 83.8},
	} {
		load, within, callers := turns, 0.1, 64
		if strings.HasPrefix(one.what, "warm") {
			within = 0.2
		}
		if one.what == "rollouts" {
			load, within = rollouts, 0.2
		}
		switch _, who, _ := strings.Cut(one.what, ", "); who {
		case "256 callers":
			callers = 256
		case "4 callers":
			callers, load = 4, turns[:80]
		case "1 caller":
			callers, load = 1, turns[:40]
		}
		all = append(all, cell{one.what, one.setting, one.real, one.low, one.high, within, func(t *testing.T, s *sim.Server) float64 {
			if strings.HasPrefix(one.what, "warm") {
				closedLoop(t, s, load, "16", callers)
			}
			return closedLoop(t, s, load, one.setting, callers)
		}})
	}
	for _, one := range []struct {
		what                                string
		state, questions, question, callers int
		alone, first                        [2]float64 // questions/s: one list; the first question alone, then the others
	}{
		{"state 1,000, 8 questions of 60", 1000, 8, 60, 4, [2]float64{43.9, 44.2}, [2]float64{170.0, 170.8}},
		{"state 2,000, 16 of 100", 2000, 16, 100, 4, [2]float64{45.9, 46.0}, [2]float64{171.8, 171.8}},
		{"state 4,000, 32 of 60", 4000, 32, 60, 4, [2]float64{74.3, 74.5}, [2]float64{202.9, 203.1}},
		{"state 300, 50 of 20", 300, 50, 20, 4, [2]float64{178.3, 196.0}, [2]float64{703.1, 894.9}},
		{"state 2,000, 16 of 100, 1 caller", 2000, 16, 100, 1, [2]float64{60.0, 61.5}, [2]float64{144.3, 144.3}},
	} {
		for i, real := range [][2]float64{one.alone, one.first} {
			way := []string{"SGLang", "first, then the rest"}[i]
			all = append(all, cell{"score, " + one.what, way, (real[0] + real[1]) / 2, real[0], real[1], 0.2,
				func(t *testing.T, s *sim.Server) float64 {
					return score(t, s, one.state, one.questions, one.question, one.callers, i == 1)
				}})
		}
	}
	return all
}

// missed are the rows that the model is known to miss. It leaves out that the front end slows
// down with 256 single calls, and that an idle server is slow to begin.
var missed = []string{
	"warm, 256 callers, unbatched", "warm, 256 callers, 64",
	"cold, 1 caller, unbatched", "cold, 1 caller, direct", "warm, 1 caller, unbatched", "warm, 1 caller, direct",
}

// lpmSchedule is by how much ScheduleSeconds is longer under lpm, which compares each waiting
// prompt with the cache.
const lpmSchedule = 1.5

// Cold rows are within 10 % of the real median, the others within 20 %, or within the
// repeats.
func TestSimulatedH100IsAsFastAsTheRealOne(t *testing.T) {
	for _, row := range compare(t, h100()) {
		if !slices.Contains(missed, row) {
			t.Errorf("%s is off by more than it may be", row)
		}
	}
}

// A profile that loadgen calibrate fitted in 24 seconds, on another H100 with random weights.
func TestCalibratedH100PredictsThreeOfFourRows(t *testing.T) {
	data, err := os.ReadFile("../gpu/results/20261127-calibrated.json")
	if err != nil {
		t.Fatal(err)
	}
	var p sim.Profile
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if missed := compare(t, p); len(missed) > len(cells())/4 {
		t.Errorf("%d of %d rows missed: %q", len(missed), len(cells()), missed)
	}
}

// compare logs how fast a profile is beside the real H100, and returns the rows that are off
// by more than they may be.
func compare(t *testing.T, profile sim.Profile) (missed []string) {
	var table strings.Builder
	table.WriteString("| | | real | simulated | off by |\n|---|---|---|---|---|\n")
	worst, worstOff, sum := "", 0.0, 0.0
	for _, c := range cells() {
		var got float64
		synctest.Test(t, func(t *testing.T) {
			p := profile
			if strings.HasSuffix(c.what, "8 tokenizers") {
				p.Tokenizers, p.ScheduleSeconds = 8, p.ScheduleSeconds*lpmSchedule
			}
			s, err := sim.New(sim.Options{Profile: p})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got = c.run(t, s)
		})
		off := got/c.real - 1
		mark := ""
		if math.Abs(off) > c.within && (got < c.low || got > c.high) {
			mark = " (missed)"
			missed = append(missed, c.what+", "+c.setting)
		}
		if sum += math.Abs(off); math.Abs(off) > math.Abs(worstOff) {
			worst, worstOff = c.what+", "+c.setting, off
		}
		fmt.Fprintf(&table, "| %s | %s | %.4g (%.4g – %.4g) | %.4g | %+.0f %%%s |\n",
			c.what, c.setting, c.real, c.low, c.high, got, 100*off, mark)
	}
	t.Logf("\n%s\nworst: %s, %+.0f %%; on average %.0f %%; missed: %d of %d",
		table.String(), worst, 100*worstOff, 100*sum/float64(len(cells())), len(missed), len(cells()))
	return missed
}

// prompt is one prompt, as ids and as text.
type prompt struct {
	tokens    []int32
	ids, text json.RawMessage
}

func newPrompt(tokens []int32, text string) prompt {
	p := prompt{tokens: tokens}
	p.ids, _ = json.Marshal(tokens) // ids and strings always encode
	p.text, _ = json.Marshal(text)
	return p
}

// prompts returns prompts as long as the reference's first turns, each several times: 1,260
// shared tokens, and problems of 758 tokens on average, whose lengths scatter as those of
// SWE-bench Verified do. A token has 4.2 bytes.
func prompts(n, rollouts int) []prompt {
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // no secret
	text := func(tokens int) string {
		var b strings.Builder
		for i := range tokens {
			b.WriteByte(' ')
			for range 3 + (i%5)/4 {
				b.WriteByte(byte('a' + random.IntN(26)))
			}
		}
		return b.String()
	}
	system := text(1260)
	var all []prompt
	lengths := make([]float64, n)
	sum := 0.0
	for i := range lengths {
		lengths[i] = math.Exp(0.84 * math.Sqrt2 * math.Erfinv((2*float64(i)+1)/float64(n)-1))
		sum += lengths[i]
	}
	random.Shuffle(n, func(i, j int) { lengths[i], lengths[j] = lengths[j], lengths[i] })
	for _, length := range lengths {
		whole := system + text(int(758*float64(n)*length/sum))
		all = append(all, slices.Repeat([]prompt{newPrompt(sim.Tokenize(whole, h100().VocabSize), whole)}, rollouts)...)
	}
	return all
}

// h100 returns the profile under test.
func h100() sim.Profile {
	p, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		panic(err)
	}
	return p
}

// usage is the part of an answer that counts tokens.
type usage struct {
	Meta struct {
		PromptTokens int `json:"prompt_tokens"`
		CachedTokens int `json:"cached_tokens"`
	} `json:"meta_info"`
}

// generate makes one call, without a network.
func generate(t *testing.T, s *sim.Server, field string, list bool, values ...json.RawMessage) []usage {
	var value any = values
	if !list {
		value = values[0]
	}
	body, _ := json.Marshal(map[string]any{field: value, "sampling_params": map[string]int{"max_new_tokens": 0}})
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/generate", strings.NewReader(string(body))))
	all := make([]usage, 1)
	var err error
	if list {
		err = json.Unmarshal(w.Body.Bytes(), &all)
	} else {
		err = json.Unmarshal(w.Body.Bytes(), &all[0])
	}
	if err != nil || w.Code != 200 || len(all) != len(values) {
		t.Errorf("status %d: %v", w.Code, err)
	}
	return all
}

// sender sends the batches of a batcher.
type sender struct {
	t *testing.T
	s *sim.Server
}

func (s sender) Send(_ context.Context, b *batcher.Batch[prompt, usage]) []batcher.Result[usage] {
	var ids []json.RawMessage
	for i := range b.Size {
		ids = append(ids, b.Value(i).ids)
	}
	var results []batcher.Result[usage]
	for _, u := range generate(s.t, s.s, "input_ids", len(ids) > 1, ids...) {
		results = append(results, batcher.Result[usage]{
			Value: u, Usage: batcher.Usage{PromptTokens: u.Meta.PromptTokens, CachedTokens: u.Meta.CachedTokens},
		})
	}
	b.Succeeded()
	return results
}

// closedLoop returns the requests/s of so many callers who send the prompts in turn.
func closedLoop(t *testing.T, s *sim.Server, all []prompt, setting string, callers int) float64 {
	if setting == "direct" {
		return closedLoopOf(t, s, all, nil, callers)
	}
	set := settings(setting)
	return closedLoopOf(t, s, all, &set, callers)
}

// closedLoopOf is closedLoop for any settings; nil sends texts straight to the server.
func closedLoopOf(t *testing.T, s *sim.Server, all []prompt, set *batcher.Settings, callers int) float64 {
	send := func(p prompt) { generate(t, s, "text", false, p.text) }
	if set != nil {
		b, err := batcher.New(sender{t, s}, *set)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.SetServer(batcher.Server{CacheTokens: 950_000, ForwardTokens: 8192})
		send = func(p prompt) {
			_, _, err := b.Submit(t.Context(), batcher.Item[prompt]{
				Value: p, Bytes: 4 * len(p.tokens), Tokens: len(p.tokens), Prefix: prefix.OfTokens(p.tokens, ""),
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	next := make(chan prompt)
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for p := range next {
				send(p)
			}
		})
	}
	for _, p := range all {
		next <- p
		time.Sleep(20 * time.Microsecond) // a client's own, which keeps the order
	}
	close(next)
	wg.Wait()
	return float64(len(all)) / time.Since(start).Seconds()
}

// settings returns the batching settings that the reference's row names.
func settings(name string) batcher.Settings {
	s := batcher.DefaultSettings()
	s.MergeIdentical, s.ForwardsInFlight, s.MaxInFlight, s.MaxWait = false, 0, 2, 5*time.Millisecond
	if !strings.HasSuffix(name, "prefix") {
		s.Share = batcher.ShareOff
	}
	if name == "unbatched" {
		s.Mode = batcher.ModeUnbatched
		return s
	}
	_, _ = fmt.Sscan(strings.TrimRight(name, ", fioprex"), &s.BatchSize)
	return s
}

// score returns the questions/s of callers who each ask several questions about one state
// after another, in a list: at once, or the first alone and then the others.
func score(t *testing.T, s *sim.Server, state, questions, question, callers int, first bool) float64 {
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // no secret
	draw := func(n int) (ids []int32) {
		for range n {
			ids = append(ids, 1000+random.Int32N(100_000))
		}
		return ids
	}
	const states = 12 // of each caller
	var lists [][]json.RawMessage
	for range states * callers {
		var list []json.RawMessage
		about := draw(state)
		for range questions {
			list = append(list, newPrompt(slices.Concat(about, draw(question)), "").ids)
		}
		lists = append(lists, list)
	}
	var wg sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < len(lists); i += callers {
				rest := lists[i]
				if first {
					generate(t, s, "input_ids", true, rest[0])
					rest = rest[1:]
				}
				generate(t, s, "input_ids", true, rest...)
			}
		})
	}
	wg.Wait()
	return float64(len(lists)*questions) / cmp.Or(time.Since(start).Seconds(), 1)
}
