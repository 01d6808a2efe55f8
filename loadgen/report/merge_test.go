package report

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"paceline/loadgen/stats"
)

// sent is a request as package sweep measures it, and when it
// was sent, in seconds from a common beginning.
type sent struct {
	at, latency, wait float64
	batch, size       int
	failed            bool
}

// partOf is the run and the requests of what was sent in one process that began at began
// and was done at end, in seconds.
func partOf(all []sent, began, end float64) Part {
	r := Run{
		Setting: "4", Mode: "fixed", BatchSize: 4, Phase: "cold", Repeat: 1,
		StartedAt: made.Add(time.Duration(began * float64(time.Second))),
		Total:     len(all), Errors: map[string]int{}, ReleaseReasons: map[string]int{}, WallSeconds: end - began,
	}
	var requests []Request
	var latencies, waits []float64
	durations := func(all []float64) (of []time.Duration) {
		for _, s := range all {
			of = append(of, time.Duration(math.Round(s*1e9)))
		}
		return of
	}
	batches := map[int]int{}
	for i, s := range all {
		q := Request{Setting: "4", Phase: "cold", Repeat: 1, Trajectory: fmt.Sprint(i)}
		q.SentSeconds, q.LatencySeconds = s.at-began, s.latency
		if s.failed {
			q.Error = "Unavailable"
			r.Failed++
			r.Errors[q.Error]++
		} else {
			q.PromptTokens, q.CachedTokens, q.BatchID, q.BatchSize, q.ReleaseReason = 10+s.batch, s.batch, fmt.Sprint(s.batch), s.size, "full"
			r.Completed++
			r.PromptTokens, r.CachedTokens = r.PromptTokens+int64(q.PromptTokens), r.CachedTokens+int64(q.CachedTokens)
			latencies, waits = append(latencies, s.latency), append(waits, s.wait)
			batches[s.batch] = s.size
		}
		requests = append(requests, q)
	}
	for _, size := range batches {
		r.Batches++
		r.EffectiveBatchSize += float64(size)
		r.ReleaseReasons["full"]++
	}
	if r.Batches > 0 {
		r.EffectiveBatchSize /= float64(r.Batches)
	}
	if r.WallSeconds > 0 {
		r.RequestThroughput, r.InputTokenThroughput = float64(r.Completed)/r.WallSeconds, float64(r.PromptTokens)/r.WallSeconds
	}
	r.Complete = r.Completed == r.Total
	r.Latency, r.QueueWait = stats.Summarize(latencies), stats.Summarize(waits)
	r.LatencyHistogram, r.QueueWaitHistogram = stats.NewHistogram(durations(latencies)...), stats.NewHistogram(durations(waits)...)
	return Part{r, requests}
}

// TestAMergeOfShardsIsOneRun splits what one process would have told among several.
func TestAMergeOfShardsIsOneRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sent {
			size := rapid.IntRange(1, 8).Draw(t, "size")
			return sent{
				at:      float64(rapid.IntRange(0, 9000).Draw(t, "at")) / 1000,
				latency: float64(rapid.IntRange(0, 9000).Draw(t, "latency")) / 1000,
				wait:    float64(rapid.IntRange(0, 900).Draw(t, "wait")) / 1000,
				batch:   10*size + rapid.IntRange(0, 3).Draw(t, "batch"), size: size, failed: rapid.IntRange(0, 9).Draw(t, "fails") == 0,
			}
		}), 1, 40).Draw(t, "requests")
		whole := partOf(all, 0, 18)
		n := rapid.IntRange(1, 5).Draw(t, "shards")
		parts := make([]Part, n)
		for i := range n {
			var own []sent
			for k, s := range all {
				if k%n == i {
					own = append(own, s)
				}
			}
			began, end := 0.0, 18.0
			if i != n/2 { // one shard lasts from the first start to the last end
				end -= float64(i) / 4
			}
			if i == n-1 && n > 1 && i != n/2 {
				began = 0.0
			}
			parts[i] = partOf(own, began, end)
		}
		merged, requests, err := MergeRun(rapid.Permutation(parts).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		if !sameHistogram(merged.LatencyHistogram, whole.Run.LatencyHistogram) ||
			!sameHistogram(merged.QueueWaitHistogram, whole.Run.QueueWaitHistogram) {
			t.Fatal("the histograms are not those of the union")
		}
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-6+1e-9*math.Abs(b) }
		if !near(merged.Latency.Mean, whole.Run.Latency.Mean) || merged.Latency.Max != whole.Run.Latency.Max ||
			!near(merged.WallSeconds, whole.Run.WallSeconds) || !near(merged.RequestThroughput, whole.Run.RequestThroughput) ||
			!near(merged.InputTokenThroughput, whole.Run.InputTokenThroughput) {
			t.Fatalf("%+v, at once %+v", merged, whole.Run)
		}
		plain := func(r Run) Run {
			r.Latency, r.QueueWait, r.LatencyHistogram, r.QueueWaitHistogram, r.Notes = stats.Summary{}, stats.Summary{}, nil, nil, nil
			r.WallSeconds, r.WallClockSeconds, r.RequestThroughput, r.InputTokenThroughput = 0, 0, 0, 0
			return r
		}
		if diff := cmp.Diff(plain(whole.Run), plain(merged), cmp.Comparer(func(a, b float64) bool { return near(a, b) })); diff != "" {
			t.Fatalf("of one process (-) and of %d (+):\n%s", n, diff)
		}
		times := func(of []Request) (at []int64) {
			for _, q := range of {
				at = append(at, int64(math.Round(1000*q.SentSeconds)))
			}
			slices.Sort(at)
			return at
		}
		if !slices.Equal(times(requests), times(whole.Requests)) {
			t.Fatal("requests were sent at other times")
		}
	})
}

func TestATimeOfShardsIsFromTheFirstStartToTheLastEnd(t *testing.T) {
	one := sent{latency: 1, batch: 1, size: 1}
	merged, requests, err := MergeRun(
		[]Part{partOf([]sent{one}, 0, 4), partOf([]sent{{at: 6, latency: 1, batch: 1, size: 1}}, 6, 10)})
	if err != nil || merged.WallSeconds != 10 || merged.RequestThroughput != 0.2 ||
		requests[1].SentSeconds != 6 {
		t.Errorf("%+v, %+v, %v", merged, requests, err)
	}
	if len(merged.Notes) != 1 || !strings.Contains(merged.Notes[0], "ran together for only 0 %") {
		t.Errorf("%q", merged.Notes)
	}
	if merged.Batches != 1 {
		t.Errorf("a batch of both shards counts %d times", merged.Batches)
	}
}

func TestWithoutRequestsTheRunSaysWhatIsNotExact(t *testing.T) {
	parts := []Part{partOf([]sent{{latency: 1, batch: 1, size: 2}}, 0, 4), partOf([]sent{{latency: 3, batch: 1, size: 2}}, 0, 4)}
	parts[1].Requests = nil
	merged, requests, err := MergeRun(parts)
	if err != nil || requests != nil || merged.Batches != 2 || merged.EffectiveBatchSize != 2 || merged.Latency.Mean != 2 ||
		len(merged.Notes) != 1 {
		t.Errorf("%+v, %v", merged, err)
	}
}

// shards are the reports of n processes.
func shards(n int) (reports []Report, requests [][]Request) {
	for i := range n {
		r := sample()
		r.Shard = &Shard{i, n}
		for k := range r.Runs {
			r.Runs[k].LatencyHistogram, r.Runs[k].QueueWaitHistogram = stats.NewHistogram(time.Second), stats.NewHistogram()
		}
		reports, requests = append(reports, r), append(requests, nil)
	}
	return reports, requests
}

func TestReportsOfAllShardsMerge(t *testing.T) {
	reports, requests := shards(3)
	merged, _, err := Merge(reports, requests)
	if err != nil || len(merged.Runs) != len(reports[0].Runs) || merged.Merged != 3 || merged.Shard != nil || merged.Partial {
		t.Fatalf("%d runs, %v", len(merged.Runs), err)
	}
	for i, r := range merged.Runs {
		if r.Completed != 1500 || r.Setting != reports[0].Runs[i].Setting || r.ServerUncachedTokens != nil {
			t.Fatalf("%+v: one server's own account was told by each of the three", r)
		}
	}
	reports[1].Runs = reports[1].Runs[:2]
	reports[1].Partial, reports[1].PartialReason = true, "interrupted"
	if merged, _, err = Merge(reports, requests); err != nil || len(merged.Runs) != 2 || !merged.Partial ||
		!strings.Contains(merged.PartialReason, "shard 1: interrupted") ||
		!strings.Contains(merged.PartialReason, "not measured by all") {
		t.Errorf("%d runs, %q, %v", len(merged.Runs), merged.PartialReason, err)
	}
}

func TestReportsThatAreNotOfOneLoadDoNotMerge(t *testing.T) {
	for want, change := range map[string]func(*Report){
		"not of a shard":                           func(r *Report) { r.Shard = nil },
		"shard 0 is given twice":                   func(r *Report) { r.Shard = &Shard{0, 3} },
		"shard 1 is one of 4, and 3 reports given": func(r *Report) { r.Shard = &Shard{1, 4} },
		"there is no shard 3 of 3":                 func(r *Report) { r.Shard = &Shard{3, 3} },
		"shard 1 is of an older loadgen":           func(r *Report) { r.Simulation = &Simulation{Speed: 4} },
		"shards 0 and 1 differ in their source":    func(r *Report) { r.Source.Seed = 9 },
		"shards 0 and 1 differ in their config":    func(r *Report) { r.Config.Concurrency = 9 },
		"shards 0 and 1 differ in their model":     func(r *Report) { r.Server.Model = "another" },
	} {
		reports, requests := shards(3)
		change(&reports[1])
		if _, _, err := Merge(reports, requests); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, _, err := Merge(nil, nil); err == nil {
		t.Error("nothing merged")
	}
}

// TestEveryFieldOfARunIsMerged fails where a field is added to Run that MergeRun does
// not know of.
func TestEveryFieldOfARunIsMerged(t *testing.T) {
	var r Run
	fill(reflect.ValueOf(&r).Elem())
	r.Completed, r.Failed, r.Total, r.ServerForwards = 1, 1, 2, new(int64)
	merged, _, err := MergeRun([]Part{{Run: r}})
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(merged)
	for i := range v.NumField() {
		unmerged := []string{"Complete", "Rate", "Outcome", "Cards"} // a search has no shards, and each shard may see the same cards
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && !slices.Contains(unmerged, name) {
			t.Errorf("%s is lost", name)
		}
	}
}

// fill sets each field to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("4")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one)
		v.Set(reflect.Append(v, one))
	case reflect.Map:
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("4"), one)
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*stats.Histogram]() {
			v.Set(reflect.ValueOf(stats.NewHistogram(time.Second)))
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(made))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

func TestShardsWhoseWarmUpsDifferMerge(t *testing.T) {
	reports, requests := shards(3)
	for i := range reports {
		reports[i].Config.WarmUpPrompts = 7 - i/2
	}
	m, _, err := Merge(reports, requests)
	if err != nil || m.Config.WarmUpPrompts != 20 {
		t.Errorf("%d, error %v", m.Config.WarmUpPrompts, err)
	}
}
