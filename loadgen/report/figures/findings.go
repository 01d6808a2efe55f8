package figures

import (
	"cmp"
	"maps"
	"slices"

	"paceline/loadgen/report"
)

// Findings are conclusions from the figures of one phase; a nil or empty field found nothing. If more
// than the size varies, there are several, one for each combination of the other dimensions.
type Findings struct {
	Side    string // the other dimensions that the settings share
	Course  *Course
	NotFull []NotFull
}

// Empty reports whether nothing was found.
func (f Findings) Empty() bool {
	return f.Course == nil && len(f.NotFull) == 0
}

// Course is how throughput follows the size.
type Course struct {
	Whole           Against   // from the smallest to the largest size
	Steps           []Against // from size to size
	Unsure          bool      // some step has too few repeats
	Ups, Downs      int       // steps that are told to rise and to fall; all if Unsure
	Highest, Lowest Cell
}

// NotFull explains why batches held less than the set size.
type NotFull struct {
	Size        int
	Held        float64 // requests in a batch, on average
	Callers     int     // of the closed loop
	FewCallers  bool    // fewer callers than one batch holds
	MaxInFlight int
	LeftForNext bool     // full batches in flight leave too few callers for the next one
	Left        int      // the number of callers left
	Early       []Reason // release reasons other than full
}

// Reason is a release reason and its share of the batches.
type Reason struct {
	Name        string
	Share       float64
	WaitSeconds float64 // as set
}

func (p Phase) findings(cfg report.Config) (f Findings) {
	sized := p.sized()
	for _, c := range sized {
		if n, ok := notFull(c, cfg); ok {
			f.NotFull = append(f.NotFull, n)
		}
	}
	if cfg.Arrival != nil { // an open loop's throughput is what was offered
		return f
	}
	if len(sized) >= 2 {
		f.Course = p.course(sized)
	}
	return f
}

func (p Phase) course(sized []Cell) *Course {
	byRate := func(a, b Cell) int { return cmp.Compare(a.Throughput, b.Throughput) }
	c := &Course{
		Whole: p.against(sized[0], sized[len(sized)-1]), Unsure: p.tooFew(sized),
		Highest: slices.MaxFunc(sized, byRate), Lowest: slices.MinFunc(sized, byRate),
	}
	for i := 1; i < len(sized); i++ {
		step := p.against(sized[i-1], sized[i])
		c.Steps = append(c.Steps, step)
		switch {
		case step.Told == Alike:
		case byRate(sized[i], sized[i-1]) > 0:
			c.Ups++
		case byRate(sized[i], sized[i-1]) < 0:
			c.Downs++
		}
	}
	return c
}

// minFilled is the share of the set size below which a finding explains why batches were not full.
const minFilled = 0.9

func notFull(c Cell, cfg report.Config) (n NotFull, ok bool) {
	if c.Effective <= 0 || c.Effective >= minFilled*float64(c.BatchSize) {
		return n, false
	}
	callers, inFlight, wait := cfg.Concurrency, cfg.MaxInFlight, cfg.MaxWaitSeconds
	if run := c.All[0]; run.MaxInFlight > 0 && run.MaxWaitSeconds != nil { // they vary by setting
		inFlight, wait = run.MaxInFlight, *run.MaxWaitSeconds
	}
	left := callers - inFlight*c.BatchSize // if every place in flight holds a full batch
	n = NotFull{
		Size: c.BatchSize, Held: c.Effective, Callers: callers, FewCallers: callers > 0 && callers < c.BatchSize,
		MaxInFlight: inFlight, LeftForNext: callers > 0 && left < c.BatchSize, Left: max(0, left),
	}
	counts := map[string]int{}
	total := 0
	for _, r := range c.Runs {
		for reason, k := range r.ReleaseReasons {
			counts[reason] += k
			total += k
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		if reason != "full" && total > 0 {
			n.Early = append(n.Early, Reason{reason, float64(counts[reason]) / float64(total), wait})
		}
	}
	return n, true
}
