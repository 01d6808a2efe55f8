package sweep

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"paceline/batcher"
)

// Setting is one way of sending that the sweep compares.
type Setting struct {
	Mode      Mode
	BatchSize int // for ModeFixed; 0 otherwise

	MaxInFlight int           // batches at SGLang at once; for ModeFixed, and the start of ModeAuto
	MaxWait     time.Duration // longest wait for a batch to fill; for ModeFixed
	Order       Order         // of release of waiting requests; "": the mode's own

	varied string // what the name says besides the size, because the plan varies it
}

// Mode is how a setting sends.
type Mode string

// The modes.
const (
	ModeFixed     Mode = "fixed"     // through the proxy, in batches of a set size
	ModeAuto      Mode = "auto"      // through the proxy, which chooses size and batches in flight
	ModeUnbatched Mode = "unbatched" // through the proxy, each alone: no waiting, no in-flight cap
	ModeDirect    Mode = "direct"    // straight to SGLang, without a proxy
)

// Order is the order in which the proxy releases waiting requests.
type Order string

// The orders.
const (
	FIFO   Order = "fifo"   // as they came
	Prefix Order = "prefix" // depth first along shared prefixes, a group's leader before the rest
)

// Name returns the setting's name in tables: the mode, or the size and what else the plan
// varies ("16, 4 in flight, 0s").
func (s Setting) Name() string {
	if s.Mode == ModeFixed {
		return strconv.Itoa(s.BatchSize) + s.varied
	}
	return string(s.Mode)
}

// Multiply returns a fixed setting for each combination. Each list must hold a value; a value
// that is given twice counts once.
func Multiply(sizes, inFlight []int, waits []time.Duration, orders []Order) (all []Setting) {
	sizes, inFlight, waits, orders = distinct(sizes), distinct(inFlight), distinct(waits), distinct(orders)
	for _, size := range sizes {
		for _, n := range inFlight {
			for _, wait := range waits {
				for _, order := range orders {
					s := Setting{Mode: ModeFixed, BatchSize: size, MaxInFlight: n, MaxWait: wait, Order: order}
					if len(inFlight) > 1 {
						s.varied += fmt.Sprintf(", %d in flight", n)
					}
					if len(waits) > 1 {
						s.varied += ", " + wait.String()
					}
					if len(orders) > 1 {
						s.varied += ", " + string(order)
					}
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// distinct returns the values without repetitions, in their order.
func distinct[T comparable](values []T) (kept []T) {
	for _, v := range values {
		if !slices.Contains(kept, v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// validate names the flag whose value is out of range.
func (s Setting) validate() error {
	if s.Mode != ModeFixed {
		return nil
	}
	switch {
	case s.BatchSize < 1 || s.BatchSize > batcher.MaxBatchSize:
		return fmt.Errorf("-sizes: a batch size must be from 1 to %d, got %d", batcher.MaxBatchSize, s.BatchSize)
	case s.MaxInFlight < 1 || s.MaxInFlight > batcher.MaxInFlightLimit:
		return fmt.Errorf("-max-in-flight: must be from 1 to %d, got %d", batcher.MaxInFlightLimit, s.MaxInFlight)
	case s.MaxWait < 0 || s.MaxWait > batcher.MaxWaitLimit:
		return fmt.Errorf("-max-wait: must be from 0s to %v, got %v", batcher.MaxWaitLimit, s.MaxWait)
	case s.Order != FIFO && s.Order != Prefix:
		return fmt.Errorf("-order: must be %s or %s, got %q", FIFO, Prefix, s.Order)
	}
	return nil
}
