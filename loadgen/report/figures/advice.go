package figures

import (
	"fmt"
	"time"

	"paceline/loadgen/report"
)

// AgainstOne compares a cell with batch size 1, with the rest the same; nil if there is nothing to compare.
func (p Phase) AgainstOne(c Cell) *Against {
	for _, a := range p.Improvement.Rows {
		if a.Cell.Setting == c.Setting {
			return &a
		}
	}
	return nil
}

// AgainstStraight compares a cell with single calls straight to SGLang; nil if there is nothing to compare.
func (p Phase) AgainstStraight(c Cell) *Against {
	straight, ok := p.find("direct")
	if !ok || !c.Ranked || c.Setting == "direct" {
		return nil
	}
	a := p.against(straight, c)
	return &a
}

// Straight reports whether single calls straight to SGLang have a figure.
func (p Phase) Straight() bool {
	_, ok := p.find("direct")
	return ok
}

// Best is the cell whose flags the recommendation gives: single calls where batching costs throughput. It
// is nil if there is nothing to recommend.
func (r Recommendation) Best() *Cell {
	switch {
	case r.Why == Costs:
		return &r.Worth.Base
	case r.Keep != nil:
		return &r.Keep.Cell
	case r.Take.Setting == "":
		return nil
	}
	return &r.Take
}

// Flags are the proxy's flags that make a cell's setting, as they were while it was measured; empty for
// calls without a proxy and for the proxy's own defaults.
func (f Figures) Flags(c Cell) string {
	switch {
	case c.Setting == "" || c.Mode == "direct" || c.Mode == "defaults":
		return ""
	case !c.Fixed():
		return "-mode " + c.Mode
	}
	run := c.All[0]
	inFlight, wait := f.Config.MaxInFlight, f.Config.MaxWaitSeconds
	if run.MaxInFlight > 0 && run.MaxWaitSeconds != nil {
		inFlight, wait = run.MaxInFlight, *run.MaxWaitSeconds
	}
	share := "off"
	if run.Order == "prefix" {
		share = "all"
	}
	return fmt.Sprintf("-mode fixed -batch-size %d -max-in-flight %d -max-wait %v -share %s",
		c.BatchSize, inFlight, time.Duration(wait*float64(time.Second)), share)
}

// SharedOnce reports whether some setting read shared new prefixes once.
func (f Figures) SharedOnce() bool {
	return len(only(f.Runs, func(r report.Run) bool { return r.Order == "prefix" || r.Mode == "defaults" })) > 0
}

// Fill is how many callers keep all batches of a cell full; 0 for a setting without a size.
func (f Figures) Fill(c Cell) int {
	if !c.Fixed() {
		return 0
	}
	inFlight := f.Config.MaxInFlight
	if n := c.All[0].MaxInFlight; n > 0 {
		inFlight = n
	}
	return c.BatchSize * (inFlight + 1)
}

// Lacking lists the cells in which not every prompt was answered.
func (f Figures) Lacking() (all []Cell) {
	for _, p := range f.Phases {
		all = append(all, only(p.Cells, func(c Cell) bool { return c.Completed < c.Total })...)
	}
	return all
}

// P99 is the median of the runs' 99th percentile of the latency, in seconds.
func (c Cell) P99() float64 { return c.Median(func(r report.Run) float64 { return r.Latency.P99 }) }

// Single is the setting that a phase's recommendation is compared with: batch size 1, or else single calls.
func (p Phase) Single() *Cell {
	best := p.Recommended.Best()
	for _, name := range []string{"1", "unbatched", "direct"} {
		if c, ok := p.find(name); ok && best != nil && c.Setting != best.Setting {
			return &c
		}
	}
	return nil
}

// Cost is where the time of one item goes at one batch size.
type Cost struct {
	Cell
	Computing  float64 // seconds per item that SGLang computes, by its own clock; 0: unknown
	Forwards   float64 // prefill forwards of a run; 0: unknown
	PerForward float64 // new sequences in one of them, #new-seq
}

// Elsewhere is the seconds per item in which SGLang does not compute.
func (c Cost) Elsewhere() float64 { return max(0, c.PerItem-c.Computing) }

// Busy is the share of the time in which SGLang computes.
func (c Cost) Busy() float64 { return min(1, c.Computing/c.PerItem) }

// Most reports whether computing is the limit.
func (c Cost) Most() bool { return c.Busy() >= 0.9 }

// Little reports whether most of the time goes elsewhere.
func (c Cost) Little() bool { return c.Busy() < 0.5 }

// Bottleneck says what limits the sizes of one phase.
type Bottleneck struct {
	Costs                 []Cost // by size
	Smallest, Best        Cost
	Largest               Cost
	SmallTold, LargeTold  Verdict // of Best against Smallest, and of Largest against Best
	Known, ForwardsKnown  bool    // Computing and Forwards are known
	MoreComputing         float64 // share of what an item takes longer at Smallest that is computing
	NoMoreSequences, Last bool    // SGLang's forwards hold no more at Largest than at Best; Best is Largest
}

// Limit returns what limits the phase's sizes; nil if fewer than two have a figure.
func (p Phase) Limit() *Bottleneck {
	sized := p.sized()
	if len(sized) < 2 || p.Recommended.Take.Setting == "" || !p.Recommended.Take.Fixed() {
		return nil
	}
	b := &Bottleneck{Known: true, ForwardsKnown: true}
	take := p.Recommended.Take
	for _, c := range sized {
		if c.Beside() != take.Beside() {
			continue
		}
		cost := costOf(c)
		b.Costs = append(b.Costs, cost)
		b.Known, b.ForwardsKnown = b.Known && cost.Computing > 0, b.ForwardsKnown && cost.Forwards > 0
		if c.Setting == take.Setting {
			b.Best = cost
		}
	}
	if len(b.Costs) < 2 {
		return nil
	}
	b.Smallest, b.Largest = b.Costs[0], b.Costs[len(b.Costs)-1]
	b.Last = b.Largest.Setting == b.Best.Setting
	b.SmallTold, b.LargeTold = p.compare(b.Smallest.Cell, take), p.compare(take, b.Largest.Cell)
	if more := b.Smallest.PerItem - b.Best.PerItem; more > 0 {
		b.MoreComputing = min(1, max(0, (b.Smallest.Computing-b.Best.Computing)/more))
	}
	b.NoMoreSequences = b.ForwardsKnown && b.Largest.PerForward <= 1.1*b.Best.PerForward
	return b
}

// LargestFaster reports whether the largest size is told to be faster than the best one.
func (b Bottleneck) LargestFaster() bool {
	return b.LargeTold == Differ && b.Largest.Throughput > b.Best.Throughput
}

func costOf(c Cell) Cost {
	cost := Cost{Cell: c}
	known := only(c.Runs, func(r report.Run) bool {
		return r.ServerBusySeconds != nil && *r.ServerBusySeconds >= 0 && r.Completed > 0
	})
	if len(known) > 0 {
		cost.Computing = median(known, func(r report.Run) float64 { return *r.ServerBusySeconds / float64(r.Completed) })
	}
	known = only(c.Runs, func(r report.Run) bool {
		return r.ServerForwards != nil && r.ServerSequences != nil && *r.ServerForwards > 0
	})
	if len(known) > 0 {
		cost.Forwards = median(known, func(r report.Run) float64 { return float64(*r.ServerForwards) })
		cost.PerForward = median(known, func(r report.Run) float64 { return report.Share(*r.ServerSequences, *r.ServerForwards) })
	}
	return cost
}

// MaxTokensOff is how far the server's count of tokens may be from the recorded ones, as a share: another
// version of a template adds a few tokens.
const MaxTokensOff = 0.05

// MaxBusy is the share of a run's time above which SGLang's busy time can't be what it seems.
const MaxBusy = 1.02

// overlapping returns the largest share of a run that SGLang's busy time fills, if it is above MaxBusy.
// SGLang 0.5.23 counts from one completed prefill to the next. Earlier versions count from the launch of a
// forward to its result: with overlapping scheduling two forwards run at once, and the sum is no share of
// the time in any run. Ranks that run in parallel are summed, too.
func overlapping(runs []report.Run) (share float64) {
	for _, r := range runs {
		if r.ServerBusySeconds != nil && r.WallSeconds > 0 {
			share = max(share, *r.ServerBusySeconds/r.WallSeconds)
		}
	}
	if share <= MaxBusy {
		return 0
	}
	return share
}
