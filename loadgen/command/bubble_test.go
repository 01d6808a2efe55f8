package command

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"paceline/loadgen/stats"
	"strings"
	"testing"
	"time"
)

func TestInABubbleTimeIsVirtualAndBeginsNow(t *testing.T) {
	begun := time.Now()
	err := inBubble(t.Context(), func(context.Context, *bubble) error {
		at := time.Now()
		if at.Before(begun) || at.Sub(begun) > time.Minute {
			t.Errorf("it is %v, not %v", at, begun)
		}
		time.Sleep(24 * time.Hour)
		if day := time.Since(at); day != 24*time.Hour {
			t.Errorf("a day took %v", day)
		}
		return errors.New("its error")
	})
	if err == nil || err.Error() != "its error" {
		t.Errorf("%v", err)
	}
}

func TestABubbleEndsWithTheContextOutside(t *testing.T) {
	outside, end := context.WithCancel(t.Context())
	err := inBubble(outside, func(ctx context.Context, _ *bubble) error {
		end()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// net/http sets a read deadline at the end of each request and takes it back.
func TestABubblesConnectionsOutliveTheirDeadlines(t *testing.T) {
	err := inBubble(t.Context(), func(_ context.Context, b *bubble) error {
		l, err := b.listen("")
		if err != nil {
			return err
		}
		server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
			time.Sleep(time.Millisecond)
			if r.Context().Err() != nil {
				t.Error("the client is taken for gone")
			}
		})}
		go server.Serve(l)
		defer server.Close()
		client := &http.Client{Transport: &http.Transport{DialContext: b.dialer()}}
		defer client.CloseIdleConnections()
		for range 200 {
			res, err := client.Post("http://"+l.Addr().String(), "text/plain", strings.NewReader("hello"))
			if err != nil {
				return err
			}
			if text, err := io.ReadAll(res.Body); err != nil || string(text) != "hello" {
				t.Errorf("%q, %v", text, err)
			}
			res.Body.Close()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhateverTheMachineDoesTheTableIsTheSame(t *testing.T) {
	figures := func(cpus string) map[string]float64 {
		t.Setenv("GOMAXPROCS", cpus)
		out := t.TempDir()
		if e := loadgen(t, "-sizes", "1,16", "-unbatched=false", "-defaults=false", "-out", out); e.status != 0 {
			t.Fatalf("status %d: %s", e.status, e.stderr)
		}
		runs, medians := map[string][]float64{}, map[string]float64{}
		for _, r := range readReport(t, out).Runs {
			cell := r.Setting + ", " + r.Phase
			runs[cell] = append(runs[cell], r.RequestThroughput)
			medians[cell] = stats.Median(runs[cell])
		}
		return medians
	}
	many, one := figures("8"), figures("1")
	for cell, a := range many {
		if b := one[cell]; !(math.Abs(a-b) <= 0.02*a) {
			t.Errorf("%s: %.2f requests/s, and %.2f on one processor", cell, a, b)
		}
	}
}
