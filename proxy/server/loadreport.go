package server

import (
	"sync"
	"time"

	"google.golang.org/grpc/orca"

	"paceline/proxy/upstream"
)

// loadReports reports the load of this proxy to balancers (ORCA): when they ask, and with
// Config.CallLoadReports after each call. It is safe for concurrent use.
type loadReports struct {
	up *upstream.Upstream

	mu       sync.Mutex // guards all fields below
	since    time.Time
	answered uint64
	failed   uint64
	last     rates
}

// rates are in requests per second.
type rates struct{ answered, failed float64 }

// rateWindow is the min time over which a rate is measured.
const rateWindow = time.Second

// ServerMetrics implements orca.ServerMetricsProvider. The utilization is the number of
// accepted requests divided by the max number at SGLang at once: 1 means that all slots are
// in use and no request waits.
func (l *loadReports) ServerMetrics() *orca.ServerMetrics {
	s, settings := l.up.Queue.Stats(), l.up.Queue.Settings()
	slots := settings.MaxInFlight * settings.BatchSize
	r := l.rates(s.Answered, s.Failed, time.Now())
	return &orca.ServerMetrics{
		CPUUtilization: -1, MemUtilization: -1, // unknown
		AppUtilization: float64(s.Queued+s.InFlightRequests) / float64(slots),
		QPS:            r.answered + r.failed, EPS: r.failed,
		Utilization: map[string]float64{}, RequestCost: map[string]float64{},
		NamedMetrics: map[string]float64{"paceline.queued_requests": float64(s.Queued)},
	}
}

// rates returns the rates of the last window that has ended.
func (l *loadReports) rates(answered, failed uint64, now time.Time) rates {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over := now.Sub(l.since); over >= rateWindow {
		if !l.since.IsZero() {
			l.last = rates{float64(answered-l.answered) / over.Seconds(), float64(failed-l.failed) / over.Seconds()}
		}
		l.since, l.answered, l.failed = now, answered, failed
	}
	return l.last
}
