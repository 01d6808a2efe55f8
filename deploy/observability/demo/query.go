package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// span is a span of Jaeger's API v3, in OTLP's JSON.
type span struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	ParentID   string      `json:"parentSpanId"`
	Name       string      `json:"name"`
	Start      int64       `json:"startTimeUnixNano,string"`
	End        int64       `json:"endTimeUnixNano,string"`
	Attributes []attribute `json:"attributes"`
	Links      []link      `json:"links"`
	Status     struct {
		Code int `json:"code"`
	} `json:"status"`

	service string
}

type link struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Attributes []attribute `json:"attributes"`
}

type attribute struct {
	Key   string                     `json:"key"`
	Value map[string]json.RawMessage `json:"value"` // one, by its type
}

func (a attribute) text() string {
	for _, v := range a.Value {
		return strings.Trim(string(v), `"`)
	}
	return ""
}

func textOf(all []attribute, key string) (string, bool) {
	for _, a := range all {
		if a.Key == key {
			return a.text(), true
		}
	}
	return "", false
}

func (s span) attribute(key string) (string, bool) { return textOf(s.Attributes, key) }

func (s span) duration() time.Duration { return time.Duration(s.End - s.Start) }

// tracesData is an answer of API v3.
type tracesData struct {
	Result struct {
		ResourceSpans []struct {
			Resource struct {
				Attributes []attribute `json:"attributes"`
			} `json:"resource"`
			ScopeSpans []struct {
				Spans []span `json:"spans"`
			} `json:"scopeSpans"`
		} `json:"resourceSpans"`
	} `json:"result"`
}

func (d tracesData) spans() (all []span) {
	for _, rs := range d.Result.ResourceSpans {
		service, _ := textOf(rs.Resource.Attributes, "service.name")
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				s.service = service
				all = append(all, s)
			}
		}
	}
	return all
}

// query describes the spans to find.
type query struct {
	service, operation string
	since              time.Time
}

// find returns the traces with a span that matches, each with all its spans.
func (j *jaeger) find(ctx context.Context, q query) ([][]span, error) {
	values := url.Values{
		"query.service_name": {q.service}, "query.operation_name": {q.operation}, "query.num_traces": {"1000"},
		"query.start_time_min": {q.since.UTC().Format(time.RFC3339Nano)},
		"query.start_time_max": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)},
	}
	var data tracesData
	err := j.get(ctx, "/api/v3/traces?"+values.Encode(), &data)
	var traces [][]span
	byID := map[string]int{}
	for _, s := range data.spans() {
		i, there := byID[s.TraceID]
		if !there {
			i, byID[s.TraceID] = len(traces), len(traces)
			traces = append(traces, nil)
		}
		traces[i] = append(traces[i], s)
	}
	return traces, err
}

// settled repeats find until no more spans arrive, because exported spans can be found only
// after a moment.
func (j *jaeger) settled(ctx context.Context, q query) ([][]span, error) {
	before := -1
	for range 20 {
		traces, err := j.find(ctx, q)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, t := range traces {
			n += len(t)
		}
		if n > 0 && n == before {
			return traces, nil
		}
		before = n
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errNoBatch
}

// trace returns the spans of a trace.
func (j *jaeger) trace(ctx context.Context, id string) ([]span, error) {
	var data tracesData
	err := j.get(ctx, "/api/v3/traces/"+id, &data)
	return data.spans(), err
}

func (j *jaeger) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url()+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusNotFound:
		return nil // no trace matches
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("jaeger answered %s: %s", res.Status, body)
	}
	return json.Unmarshal(body, into)
}

// rootOf returns the span without a parent, or the first span if there is none.
func rootOf(spans []span) span {
	if i := slices.IndexFunc(spans, func(s span) bool { return s.ParentID == "" }); i >= 0 {
		return spans[i]
	}
	return spans[0]
}

// tree draws a trace: each span below its parent, by start time.
func tree(spans []span) string {
	children := map[string][]span{}
	known := map[string]bool{}
	for _, s := range spans {
		known[s.SpanID] = true
	}
	began := spans[0].Start
	for _, s := range spans {
		parent := s.ParentID
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
		began = min(began, s.Start)
	}
	var b strings.Builder
	var draw func(id, indent string)
	draw = func(id, indent string) {
		below := children[id]
		slices.SortStableFunc(below, func(x, y span) int {
			return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(position(x), position(y)))
		})
		for _, s := range below {
			fmt.Fprintf(&b, "%s%s  [%s]  at %v for %v%s\n", indent, s.Name, s.service,
				time.Duration(s.Start-began).Round(10*time.Microsecond), s.duration().Round(10*time.Microsecond), notable(s))
			draw(s.SpanID, indent+"  ")
		}
	}
	draw("", "  ")
	return b.String()
}

func position(s span) int {
	text, _ := s.attribute("batch.position")
	n, _ := strconv.Atoi(text)
	return n
}

// notable returns the attributes that a tree shows.
func notable(s span) string {
	var b strings.Builder
	for _, key := range []string{
		"batch.size", "batch.position", "batch.release_reason", "gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens",
	} {
		if text, there := s.attribute(key); there {
			fmt.Fprintf(&b, "  %s=%s", key, text)
		}
	}
	if n := len(s.Links); n > 0 {
		fmt.Fprintf(&b, "  links=%d", n)
	}
	if s.Status.Code == statusError {
		b.WriteString("  ERROR")
	}
	return b.String()
}

const statusError = 2 // OTLP's

var errNoBatch = errors.New("jaeger has no batch: were the spans exported? See OTEL_* in the environment")
