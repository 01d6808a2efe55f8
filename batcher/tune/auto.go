package tune

import (
	"fmt"
	"time"
)

// Plan is what Auto has chosen, and why.
type Plan struct {
	BatchSize   int
	MaxWait     time.Duration
	MaxInFlight int
	Why         string // for humans
}

// InFlight is the number of batches that Auto keeps in flight. On an H100 SGLang's front
// end is the limit for cached prompts: two lists leave it idle, sixteen are small ones.
const InFlight = 8

const (
	maxSize   = 64                   // larger batches gained nothing on any server measured
	minEnough = 16                   // smaller batches lose more if the cost is misjudged: 8 lost 6 % on a real server
	overhead  = 0.01                 // max share of a batch's time that is its fixed cost
	maxWait   = 5 * time.Millisecond // the callers of one batch send again within this
	window    = 12                   // batches over which the number of callers is observed
)

// Auto chooses size and wait from the learned cost. All requests here are divided equally
// among the batches in flight and the one that waits, so that no slot stays empty. The size
// is smaller if fewer prompts are enough to carry a batch's fixed cost. While the server is
// busy, callers that were just answered count as here, because they are about to send
// again. A request waits for others at most as long as its own prompt takes.
type Auto struct {
	size  int
	wait  time.Duration
	bound string // what bounds size

	batches      int // ended since the window began
	before, here int // max requests here at once: in the window before, and since
}

// Choose chooses size and wait for the numbers of requests that wait and are in flight.
func (a *Auto) Choose(waiting, inFlight int, m *Meter) (size int, wait time.Duration) {
	here := waiting + inFlight
	a.here = max(a.here, here)
	if inFlight > 0 {
		here = max(a.before, a.here)
	}
	a.size, a.bound = (here+InFlight)/(InFlight+1), "all prompts here shared among the batches in flight and the next"
	a.wait = maxWait
	if prompt := m.prompt(); m.Cost.Ready() && prompt > 0 {
		a.wait = min(maxWait, seconds(prompt))
		if enough := m.Cost.PerBatch / overhead / prompt; enough < float64(a.size) {
			a.size, a.bound = max(min(a.size, minEnough), int(enough)), "as many as carry a batch's fixed cost"
		}
	}
	if a.size > maxSize {
		a.size, a.bound = maxSize, "the largest that gains anything"
	}
	a.size = max(1, a.size)
	return a.size, a.wait
}

// Ended counts a batch that ended.
func (a *Auto) Ended() {
	if a.batches++; a.batches >= window {
		a.batches, a.before, a.here = 0, a.here, 0
	}
}

// Plan returns the last choice.
func (a *Auto) Plan(c Cost) Plan {
	why := "nothing learned yet of the cost"
	if c.Ready() {
		why = fmt.Sprintf("a batch costs %.1f ms, a prompt %.1f ms, a thousand tokens %.1f ms (predictions are off by %.0f %%)",
			1e3*c.PerBatch, 1e3*c.PerRequest, 1e6*c.PerToken, 100*c.Error)
	}
	return Plan{
		BatchSize: a.size, MaxWait: a.wait, MaxInFlight: InFlight,
		Why: fmt.Sprintf("size %d: %s; %s", a.size, a.bound, why),
	}
}
