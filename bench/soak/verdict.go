package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	pb "paceline/proto/paceline/v1"
)

// life is one process of the proxy.
type life struct {
	began    time.Time
	pid      int
	log      string // path
	ended    bool   // it was stopped
	samples  []sample
	counters *pb.BatcherStatus // the last
}

// sample is what a proxy takes of its machine at one moment.
type sample struct {
	at                      time.Time
	rss, live               float64 // MiB: resident, and alive at the last collection of garbage
	goroutines, descriptors float64
}

const (
	sampleEvery = 2 * time.Second
	mib         = 1 << 20
)

// watch samples the proxy until ctx ends, and prints a line each minute.
func (p *pair) watch(ctx context.Context) {
	for n := 1; ; n++ {
		l := p.life()
		if s, err := p.sample(ctx, l); err == nil {
			p.mu.Lock()
			l.samples = append(l.samples, s)
			p.mu.Unlock()
			p.sampleCounters(ctx, l)
			if n%int(time.Minute/sampleEvery) == 0 {
				p.print(l, s)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sampleEvery):
		}
	}
}

func (p *pair) print(l *life, s sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := l.counters
	fmt.Printf("%s %s: proxy %d, %.1f MiB, %.0f goroutines, %.0f descriptors, "+
		"accepted %d, answered %d, failed %d, cancelled %d; clients: %s\n",
		p.clock(), p.name, len(p.lives), s.rss, s.goroutines, s.descriptors, c.GetAccepted(), c.GetAnswered(), c.GetFailed(), c.GetCancelled(),
		p.tally())
}

// tally says how the requests of all clients ended. It requires mu.
func (p *pair) tally() string {
	n := p.counts
	return fmt.Sprintf("%d answered, %d refused as bad, %d failed, %d gone, %d tried again, %d of them on a closed connection, %d wrong",
		n[answered], n[rejected], n[failed], n[gone], n[refused]+n[closed], n[closed], p.wrongs)
}

// sample reads /proc and the metrics page of a life.
func (p *pair) sample(ctx context.Context, l *life) (s sample, err error) {
	proc, err := procfs.NewProc(l.pid)
	if err != nil {
		return s, err
	}
	stat, err1 := proc.Stat()
	descriptors, err2 := proc.FileDescriptorsLen()
	page, err3 := p.page(ctx)
	value := func(name string) float64 {
		_, after, _ := strings.Cut(page, "\n"+name+" ")
		number, _, _ := strings.Cut(after, "\n")
		n, err := strconv.ParseFloat(number, 64)
		err3 = errors.Join(err3, err)
		return n
	}
	s = sample{
		at: time.Now(), rss: float64(stat.ResidentMemory()) / mib, descriptors: float64(descriptors), goroutines: value("go_goroutines"),
		live: value("go_memstats_next_gc_bytes") / (1 + value("go_gc_gogc_percent")/100) / mib,
	}
	return s, errors.Join(err1, err2, err3)
}

// page reads the proxy's metrics.
func (p *pair) page(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := p.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	page, err := io.ReadAll(res.Body)
	return string(page), err
}

// sampleCounters reads the counters of a life and holds them against the law.
func (p *pair) sampleCounters(ctx context.Context, l *life) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := p.status.GetStatus(ctx, &pb.GetStatusRequest{})
	if err != nil {
		return // not there yet, or no more
	}
	b := s.GetBatcher()
	if b.GetAccepted() != b.GetAnswered()+b.GetFailed()+b.GetCancelled()+b.GetQueuedRequests()+b.GetInFlightRequests() {
		p.complain("the law does not hold: %v", b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.counters = b
}

// verdict waits until the proxy is quiet, stops it and judges all that was seen.
func (p *pair) verdict() error {
	p.awaitQuiet()
	if err := p.stopProxy(context.Background()); err != nil {
		p.complain("the proxy did not drain: %v", err)
	}
	p.mu.Lock()
	lives := p.lives
	p.mu.Unlock()
	for i, l := range lives {
		p.judge(i+1, l)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Printf("%s: %s\n", p.name, p.tally())
	if p.wrongs > 0 {
		return fmt.Errorf("%d things went wrong, the first: %s", p.wrongs, p.wrong[0])
	}
	return nil
}

// awaitQuiet waits until the proxy has nothing to do, and complains about what is left after
// half a minute.
func (p *pair) awaitQuiet() {
	p.http.CloseIdleConnections()
	var b *pb.BatcherStatus
	for range 300 {
		p.sampleCounters(context.Background(), p.life())
		b = p.life().counters
		if b.GetQueuedRequests()+b.GetQueuedBytes()+b.GetInFlightBatches()+b.GetInFlightRequests()+b.GetHeldPrompts() == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.complain("nothing was sent for half a minute, and left are %v", b)
}

// drained finds the counters with which a proxy ends, in its log.
var drained = regexp.MustCompile(`msg=drained accepted=(\d+) answered=(\d+) failed=(\d+) cancelled=(\d+)`)

// judge holds the last counters of a life against the law. If it was a long one, of a sixth of
// the soak and of 5 minutes, it compares the last third with the first, without the beginning, when caches fill.
func (p *pair) judge(n int, l *life) {
	log, err := os.ReadFile(l.log)
	end := drained.FindSubmatch(log)
	if err != nil || end == nil || bytes.Contains(log, []byte("panic")) || bytes.Contains(log, []byte("level=ERROR")) {
		p.complain("proxy %d logged an error, or no end: %s", n, l.log)
		return
	}
	var c [5]int
	for i := range c[1:] {
		c[i+1], _ = strconv.Atoi(string(end[i+1])) // digits
	}
	if c[1] != c[2]+c[3]+c[4] {
		p.complain("proxy %d: the law does not hold at the end", n)
	}
	fmt.Printf("%s: proxy %d accepted %d = answered %d + failed %d + cancelled %d; merged %d, retries %d, splits %d, refused %d\n",
		p.name, n, c[1], c[2], c[3], c[4], l.counters.GetMerged(), l.counters.GetRetries(), l.counters.GetSplits(), l.counters.GetRefused())
	samples := slices.DeleteFunc(slices.Clone(l.samples), func(s sample) bool { return s.at.Before(l.began.Add(p.time / 20)) })
	if len(samples) < 9 || samples[len(samples)-1].at.Sub(l.began) < max(p.time/6, 5*time.Minute) {
		return
	}
	for _, m := range []struct {
		name  string
		of    func(sample) float64
		slack float64
	}{
		{"MiB resident", func(s sample) float64 { return s.rss }, 32},
		{"MiB alive", func(s sample) float64 { return s.live }, 2},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 10},
		{"descriptors", func(s sample) float64 { return s.descriptors }, 3},
	} {
		third := len(samples) / 3
		first, last := quartile(samples[:third], m.of), quartile(samples[len(samples)-third:], m.of)
		fmt.Printf("%s: proxy %d, %s: %.1f in the first third, %.1f in the last\n", p.name, n, m.name, first, last)
		if last > first*1.1+m.slack {
			p.complain("proxy %d: %s grew from %.1f to %.1f", n, m.name, first, last)
		}
	}
}

// quartile returns the lower quartile of a value. What leaks raises it, while streams that
// nobody reads come and go. Collections are rare (GOGC 400), so resident memory is several
// times what is alive and swings with what was alive at the last of them.
func quartile(samples []sample, of func(sample) float64) float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	slices.Sort(all)
	return all[len(all)/4]
}
