package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measurePassThrough compares how long the events of a stream take from the
// upstream to the client, straight and through the proxy.
func measurePassThrough(ctx context.Context, o options) error {
	up, p, err := startProxy(ctx, o)
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // until the proxy has found its upstream
	var p50, p99 []float64
	for range o.repeats {
		var at [2][2]time.Duration
		for i, addr := range []string{up.addr, p.http} {
			all, err := follow(ctx, addr)
			if err != nil {
				return err
			}
			slices.Sort(all)
			at[i] = [2]time.Duration{all[len(all)/2], all[len(all)*99/100]}
		}
		fmt.Fprintf(os.Stderr, "p50, p99: straight %v, through the proxy %v\n", at[0], at[1])
		p50 = append(p50, (at[1][0]-at[0][0]).Seconds()*1000)
		p99 = append(p99, (at[1][1]-at[0][1]).Seconds()*1000)
	}
	fmt.Printf("added to an event of a stream, p50: %s ms, p99: %s ms\n", spread(p50, "%.3f"), spread(p99, "%.3f"))
	return nil
}

// follow reads a stream of events with the times at which they were sent.
func follow(ctx context.Context, addr string) ([]time.Duration, error) {
	body := strings.NewReader(`{"text":"a","sampling_params":{"max_new_tokens":200},"stream":true}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/generate", body)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	var all []time.Duration
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		sent, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, time.Since(time.Unix(0, sent)))
	}
	if len(all) != events {
		return nil, fmt.Errorf("%d events came of %d: status %s", len(all), events, res.Status)
	}
	return all, lines.Err()
}
