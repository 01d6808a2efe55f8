// Command measure shows what more pods bring, and what it matters how prompts are
// spread over them: throughput over 1, 2 and 4 pods, what each way of spreading leaves
// of the prefix cache, and what it makes of a pod that is slower than the others.
//
//	go run ./deploy/scaleout/measure                           about eight minutes
//	go run ./deploy/scaleout/measure -envoy envoy -parts turns,uneven
//
// Pods are proxies before simulated SGLangs, all in this process: figures are simulated
// seconds, and hold while the machine has processors to spare, which the table tells.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"

	"paceline/loadgen/stats"
)

type options struct {
	profile string
	speed   float64
	repeats int
	n       int
	callers int
	parts   string
	envoy   string
}

func main() {
	var o options
	flag.StringVar(&o.profile, "sim-profile", "h100-qwen2.5-7b", "simulated server")
	flag.Float64Var(&o.speed, "sim-speed", 1, "simulated seconds per real second")
	flag.IntVar(&o.repeats, "repeats", 5, "how often each row is measured")
	flag.IntVar(&o.n, "n", 500, "first turns for each pod")
	flag.IntVar(&o.callers, "callers", 64, "callers for each pod")
	flag.StringVar(&o.parts, "parts", "pods,rollouts,turns,uneven", "only these, separated by commas")
	flag.StringVar(&o.envoy, "envoy", "", "`file` of an Envoy, to measure envoy.yaml, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := measureAll(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// row is one line of a table, measured at each repeat.
type row struct {
	name  string
	way   way
	shape shape
	load  workload
	runs  []measured
}

// table is rows that are measured in turn. Ratios are to the first row of the same
// repeat.
type table struct {
	title string
	rows  []row
}

func measureAll(ctx context.Context, o options, w io.Writer) error {
	for _, part := range strings.Split(o.parts, ",") {
		t, err := tableOf(part, o)
		if err != nil {
			return err
		}
		for range o.repeats {
			for i := range t.rows {
				r := &t.rows[i]
				m, err := r.way.measure(ctx, o, r.shape, r.load)
				if err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
				r.runs = append(r.runs, m)
			}
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

func tableOf(part string, o options) (table, error) {
	switch part {
	case "pods":
		return podsTable(o), nil
	case "rollouts":
		load := rollouts(60, 8)
		return waysTable(o, "8 rollouts of each of 60 problems over 4 pods", shape{servers: 4, callers: o.callers}, load), nil
	case "turns":
		load := conversations(120, 8)
		return waysTable(o, "8 turns of each of 120 conversations over 4 pods, each of which caches a third of the distinct tokens",
			shape{servers: 4, callers: o.callers, kv: load.distinct / 3}, load), nil
	case "uneven":
		return waysTable(o, fmt.Sprintf("first turns, %d for each pod, over 4 pods, of which one is %d times slower", o.n/2, slowness),
			shape{servers: 4, callers: 4 * o.callers, uneven: true}, firstTurns(4*o.n/2)), nil
	}
	return table{}, fmt.Errorf("-parts: %q is none of pods, rollouts, turns, uneven", part)
}

// podsTable gives each pod the same work.
func podsTable(o options) table {
	t := table{title: fmt.Sprintf("%d first turns and %d callers for each pod, cold", o.n, o.callers)}
	for _, w := range []way{{name: "round robin", config: "round-robin"}, {name: "one proxy", one: true}} {
		for _, n := range []int{1, 2, 4} {
			t.rows = append(t.rows, row{
				name: fmt.Sprintf("%d, %s", n, w.name), way: w, shape: shape{servers: n, callers: n * o.callers}, load: firstTurns(n * o.n),
			})
		}
	}
	return t
}

func waysTable(o options, title string, s shape, load workload) table {
	t := table{title: fmt.Sprintf("%s; %d callers, %d distinct tokens in %d", title, s.callers, load.distinct, load.total)}
	for _, w := range ways(o.envoy) {
		t.rows = append(t.rows, row{name: w.name, way: w, shape: s, load: load})
	}
	return t
}

func (t table) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\n%s\n", t.title)                                                                                   //nolint:errcheck // flushed with its error
	fmt.Fprintln(out, "\tprompts/s\t÷ first row\tnot computed\tcomputed ÷ distinct\tbusiest pod ÷ mean\tprocessors used") //nolint:errcheck // likewise
	for _, r := range t.rows {
		ratios := make([]float64, len(r.runs))
		for i, m := range r.runs {
			ratios[i] = m.rate() / t.rows[0].runs[i].rate()
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.name, //nolint:errcheck // likewise
			spread("%.1f", r.of(measured.rate)),
			spread("%.2f", ratios),
			spread("%.1f %%", r.of(func(m measured) float64 { return 100 * (1 - float64(m.computed)/float64(r.load.total)) })),
			spread("%.2f", r.of(func(m measured) float64 { return float64(m.computed) / float64(r.load.distinct) })),
			spread("%.2f", r.of(func(m measured) float64 { return m.busiest })),
			spread("%.2f", r.of(func(m measured) float64 { return m.cpu })))
	}
	return out.Flush()
}

func (r row) of(f func(measured) float64) []float64 {
	all := make([]float64, len(r.runs))
	for i, m := range r.runs {
		all[i] = f(m)
	}
	return all
}

// spread is lowest – median – highest.
func spread(format string, sample []float64) string {
	low, high := stats.Range(sample)
	return fmt.Sprintf(format+" – "+format+" – "+format, low, stats.Median(sample), high)
}
