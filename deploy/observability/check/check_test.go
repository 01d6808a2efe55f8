// Package check tests the dashboard, the alerts and the queries by which Kubernetes scales
// with the metrics page of a real proxy. It is its own module because it needs Prometheus.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
	"go.yaml.in/yaml/v3"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
	"paceline/proxy/server/servertest"
	"paceline/proxy/telemetry"
)

const (
	scrapeEvery = 15 * time.Second // as prometheus.yml says; the clock of the samples, not of the test
	scrapes     = 8
)

// query is one of a dashboard or an alert.
type query struct{ where, expr string }

// dashboard reads the queries of every panel, with Grafana's variables filled in.
func dashboard(t *testing.T) (queries []query) {
	var d struct {
		Panels []struct {
			Title, Description string
			Type               string
			Targets            []struct{ Expr string }
		}
	}
	data, err := os.ReadFile("../grafana/dashboards/paceline.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$instance", ".*")
	for _, p := range d.Panels {
		if p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("panel %q has no query or no description", p.Title)
		}
		for _, target := range p.Targets {
			queries = append(queries, query{"panel " + p.Title, fill.Replace(target.Expr)})
		}
	}
	return queries
}

// alerts reads the expressions of every alert, and each side of its comparison,
// because an alert that is silent tells nothing of whether its metrics exist.
func alerts(t *testing.T) (queries []query) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary string }
			}
		}
	}
	data, err := os.ReadFile("../alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if !strings.HasSuffix(r.Annotations.Summary, ".") {
				t.Errorf("alert %s has no sentence", r.Alert)
			}
			queries = append(queries, query{"alert " + r.Alert, r.Expr})
		}
	}
	return queries
}

// adapter reads the queries by which Kubernetes scales (../../kustomize/components/autoscaling),
// with the Prometheus adapter's templates filled in.
func adapter(t *testing.T) (queries []query) {
	var file struct {
		Rules []struct {
			Name         struct{ As string }
			SeriesQuery  string `yaml:"seriesQuery"`
			MetricsQuery string `yaml:"metricsQuery"`
		}
	}
	data, err := os.ReadFile("../../kustomize/components/autoscaling/adapter-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	hpa, err := os.ReadFile("../../kustomize/components/autoscaling/hpa.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("<<.GroupBy>>", "instance", "<<.LabelMatchers>>", `job="paceline"`)
	for _, r := range file.Rules {
		if !strings.Contains(string(hpa), "name: "+r.Name.As+"}") {
			t.Errorf("nothing scales by %s", r.Name.As)
		}
		series, _, _ := strings.Cut(r.SeriesQuery, "{") // the labels are Kubernetes'
		queries = append(queries, query{"autoscaling " + r.Name.As, fill.Replace(r.MetricsQuery)}, query{"autoscaling series", series})
	}
	if len(queries) != 4 {
		t.Errorf("%d queries of the adapter", len(queries))
	}
	return queries
}

// page scrapes a proxy that has seen every kind of end.
func page(t *testing.T) (scrape func() []byte) {
	proxy := servertest.Start(t, 50, func(cfg *server.Config) {
		cfg.HTTP, cfg.Metrics = "127.0.0.1:0", "127.0.0.1:0"
		cfg.Settings.BatchSize = 4
		cfg.Spans = func() telemetry.Spans { return telemetry.Spans{} }
	})
	n := 0
	return func() []byte {
		var wg sync.WaitGroup
		for range 40 {
			n++
			text := fmt.Sprintf("def function_%d(): pass", n)
			wg.Go(func() {
				if _, err := proxy.Client.Prefill(t.Context(), &pb.PrefillRequest{Text: text}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, _ = proxy.Client.Prefill(t.Context(), &pb.PrefillRequest{}) // refused
		for path, body := range map[string]string{
			"/generate":       `{"text":"x = 1","sampling_params":{"max_new_tokens":1}}`,
			"/v1/completions": `{"model":"m","prompt":"x = 1","max_tokens":1}`,
		} {
			if r, err := http.Post("http://"+proxy.HTTPAddr()+path, "application/json", strings.NewReader(body)); err == nil {
				_ = r.Body.Close()
			}
		}
		r, err := http.Get("http://" + proxy.MetricsAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

// store appends a page as Prometheus would at that time.
func store(t *testing.T, s *teststorage.TestStorage, page []byte, at time.Time) {
	app := s.Appender(context.Background())
	p, err := textparse.New(page, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	add := func(l labels.Labels, v float64) {
		if _, err := app.Append(0, l, at.UnixMilli(), v); err != nil {
			t.Fatal(err)
		}
	}
	target := []string{"instance", "127.0.0.1:9464", "job", "paceline"}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		_, _, v := p.Series()
		p.Labels(&l)
		b := labels.NewBuilder(l)
		for i := 0; i < len(target); i += 2 {
			b.Set(target[i], target[i+1])
		}
		add(b.Labels(), v)
	}
	add(labels.FromStrings(append(target, labels.MetricName, "up")...), 1)
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// selectors are the parts of an expression that name series.
func selectors(t *testing.T, q query) (all []string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
	if err != nil {
		t.Fatalf("%s: %v\n%s", q.where, err, q.expr)
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			all = append(all, v.String())
		}
		return nil
	})
	return all
}

func TestEveryQueryFindsItsSeriesOnTheMetricsPage(t *testing.T) {
	scrape := page(t)
	s := promqltest.NewBuiltinTestStorage(t)
	now := time.Unix(1_800_000_000, 0)
	for range scrapes {
		store(t, s, scrape(), now)
		now = now.Add(scrapeEvery)
	}
	now = now.Add(-scrapeEvery)
	engine := promqltest.NewTestEngine(t, false, 0, 1_000_000)
	ask := func(q query, expr string) int {
		asked, err := engine.NewInstantQuery(t.Context(), s, nil, expr, now)
		if err != nil {
			t.Fatalf("%s: %v\n%s", q.where, err, expr)
		}
		defer asked.Close()
		result := asked.Exec(t.Context())
		if result.Err != nil {
			t.Fatalf("%s: %v\n%s", q.where, result.Err, expr)
		}
		vector, err := result.Vector()
		if err != nil {
			t.Fatalf("%s: %v\n%s", q.where, err, expr)
		}
		return len(vector)
	}
	all := append(append(dashboard(t), alerts(t)...), adapter(t)...)
	if len(all) < 50 {
		t.Fatalf("%d queries", len(all))
	}
	for _, q := range all {
		for _, selector := range selectors(t, q) {
			if ask(q, selector) == 0 {
				t.Errorf("%s: the page has no %s", q.where, selector)
			}
		}
		if !strings.HasPrefix(q.where, "alert") && ask(q, q.expr) == 0 {
			t.Errorf("%s shows nothing: %s", q.where, q.expr)
		}
	}
	for _, q := range alerts(t) {
		if q.where == "alert PacelinePredictionsOff" {
			continue // a simulator at fifty times its speed keeps no time
		}
		if n := ask(q, q.expr); n > 0 {
			t.Errorf("%s fires at a proxy that is well", q.where)
		}
	}
	t.Logf("%d queries", len(all))
}
