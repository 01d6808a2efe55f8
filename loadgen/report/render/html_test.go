package render

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
)

func pageOf(t testing.TB, r report.Report, d figures.Digest, l *Language) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, figures.Of(r, d), l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	page := pageOf(t, traced(), digestOf(t, traced()), English)
	if m := regexp.MustCompile(`(?i)<script|<link[^>]+href="[^d]|src=|url\(|@import`).FindString(page); m != "" {
		t.Errorf("the page holds %s", m)
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") && !strings.HasPrefix(m[1], "data:,") &&
			!strings.HasPrefix(m[1], "http://127.0.0.1:16686/trace/") {
			t.Errorf("the page leads to %s", m[1])
		}
	}
	if !strings.Contains(page, `default-src 'none'`) {
		t.Error("the page may load things")
	}
}

// digested are the requests of one run.
func digested(t *testing.T, run ...report.Request) figures.Digest {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteRequests(&b, run); err != nil {
		t.Fatal(err)
	}
	d, err := figures.ReadDigest(&b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// many is a sweep as large as the page takes: settings of several dimensions, and
// thousands of requests.
func many(t testing.TB) (report.Report, figures.Digest) {
	var groups [][]report.Run
	for _, size := range []string{"1", "2", "4", "8", "16", "32"} {
		for _, more := range []string{"", ", 4 in flight", ", 8 in flight, 0s, prefix"} {
			for _, phase := range []string{"cold", "warm"} {
				group := repeats(size, phase, 0.5, 10, 11, 12, 13, 14)
				for i := range group {
					group[i].Setting += more
				}
				groups = append(groups, group)
			}
		}
	}
	r := of(groups...)
	return r, digestOf(t, r)
}

func TestThePageStaysBelowAMegabyte(t *testing.T) {
	r, d := many(t)
	for l, page := range map[*Language]string{English: pageOf(t, r, d, English), Chinese: pageOf(t, r, d, Chinese)} {
		t.Logf("%s: %d bytes for %d runs", l.Code, len(page), len(r.Runs))
		if len(page) >= 1_000_000 {
			t.Errorf("%s: %d bytes", l.Code, len(page))
		}
	}
}

func TestSettingsOfSeveralDimensionsAreCurvesOverTheSize(t *testing.T) {
	r, d := many(t)
	page := pageOf(t, r, d, English)
	_, figure, _ := strings.Cut(page, "<figure>")
	figure, _, _ = strings.Cut(figure, "</figure>")
	for _, want := range []string{">4 in flight</li>", ">8 in flight, 0s, prefix</li>", ">32</text>"} {
		if !strings.Contains(figure, want) {
			t.Errorf("no %s in %s", want, figure)
		}
	}
}

func TestNamesFromOutsideCannotBreakThePage(t *testing.T) {
	evil := `<img src=x onerror=alert(1)>"'&`
	r := of(repeats("8", "cold", 0.4, 10), repeats("unbatched", "cold", 0.4, 10))
	r.Server.Model, r.Server.Device, r.Source.File, r.PartialReason, r.Partial = evil, evil, evil, evil, true
	r.Runs[0].Setting, r.Runs[0].Notes, r.Runs[0].Errors = evil, []string{evil}, map[string]int{evil: 3}
	r.Environment.Args = []string{evil, "**a**", "`b`"}
	r.Tracing = &report.Tracing{URL: "javascript:alert(1)//", Sampler: evil}
	r.Runs[0].Traces = []report.Trace{{ID: "ab", Trajectory: evil, Seconds: 1}}
	d := digested(t,
		report.Request{Setting: evil, Phase: "cold", Trajectory: evil, LatencySeconds: 1, TraceID: "ab", BatchID: evil, BatchSize: 3})
	for _, l := range []*Language{English, Chinese} {
		page := pageOf(t, r, d, l)
		if strings.Contains(page, "<img") || strings.Contains(page, "javascript:") {
			t.Error(page[max(0, strings.Index(page, "<img")-200):])
		}
	}
}

func TestThePageIsTaggedAndItsTablesAreReadable(t *testing.T) {
	page := pageOf(t, full(), digestOf(t, full()), Chinese)
	for _, want := range []string{
		`<html lang="zh-Hans">`, `<meta charset="utf-8">`, `name="viewport"`, `prefers-color-scheme: dark`, `@media print`,
		`<th scope="col"`, `<th scope="row">`, `<title>不同批大小下的 prefill 吞吐量（模拟）</title>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Count(page, `<div class="scroll"`) != strings.Count(page, `tabindex="0" role="group" aria-label=`) {
		t.Error("a table scrolls that can't be reached by keyboard")
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("%s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"|aria-labelledby="([^" ]+) ([^"]+)"`).FindAllStringSubmatch(page, -1) {
		for _, id := range m[1:] {
			if id != "" && !ids[id] {
				t.Errorf("nothing is called %s", id)
			}
		}
	}
}

func TestWithoutSingleRequestsThePageHasTheFigures(t *testing.T) {
	page := pageOf(t, full(), figures.Digest{}, English)
	if !strings.Contains(page, "Which setting is fastest, cold?") ||
		strings.Contains(page, "Slowest requests") {
		t.Error("the page shows what it can't know, or not what it knows")
	}
}

func TestASlowRequestHasALinkToItsTrace(t *testing.T) {
	r := traced()
	d := digested(t,
		report.Request{Setting: "4", Phase: "cold", Repeat: 1, Trajectory: "repo-9", LatencySeconds: 77, TraceID: "abcd"},
		report.Request{Setting: "4", LatencySeconds: 99, Error: "Unavailable"})
	page := pageOf(t, r, d, English)
	if !strings.Contains(page, `<a href="http://127.0.0.1:16686/trace/abcd">abcd</a>`) || !strings.Contains(page, "repo-9") ||
		strings.Contains(page, "99.0") {
		t.Error("no link, or a request that failed is called slow")
	}
}

// TestAPhoneShowsThePageWithoutScrollingSideways has a browser lay it out, 390
// pixels wide, and on a desk.
func TestAPhoneShowsThePageWithoutScrollingSideways(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium is installed")
	}
	r, d := many(t)
	r.Environment.Args = []string{"-" + strings.Repeat("long", 200)}
	page := pageOf(t, r, d, English)
	mux := http.NewServeMux()
	mux.HandleFunc("/report.html", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!DOCTYPE html><link rel="icon" href="data:,">
<iframe src="/report.html" style="width:390px;height:900px;border:0"></iframe>
<iframe src="/report.html" style="width:1280px;height:900px;border:0"></iframe><p id="found"></p>
<script>onload = () => { document.getElementById("found").textContent = [...document.querySelectorAll("iframe")].map(f => {
const d = f.contentDocument.documentElement; return "needs " + d.scrollWidth + " of " + d.clientWidth }).join("; ") }</script>`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--hide-scrollbars", "--dump-dom", server.URL)
	cmd.WaitDelay = 5 * time.Second
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Skipf("Chromium did not run: %v\n%s", err, log.String())
	}
	found := regexp.MustCompile(`needs (\d+) of (\d+); needs (\d+) of (\d+)`).FindStringSubmatch(out.String())
	if found == nil || found[2] != "390" || found[4] != "1280" {
		t.Fatalf("%v: %s", found, out.String())
	}
	if found[1] != found[2] || found[3] != found[4] {
		t.Errorf("the page %s", found[0])
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Error(line)
		}
	}
}

func FuzzDigestRead(f *testing.F) {
	f.Add([]byte(`{"setting":"4","phase":"cold","repeat":1,"sent_seconds":1,"latency_seconds":2,` +
		`"batch_id":"a","batch_size":4,"queue_wait_seconds":1}`))
	f.Add([]byte(`{"sent_seconds":-1e300,"latency_seconds":1e300}` + "\n" + `{"sent_seconds":1e38,"latency_seconds":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := figures.ReadDigest(bytes.NewReader(data))
		if err != nil {
			return
		}
		r := of(repeats("4", "cold", 0.1, 10))
		var b bytes.Buffer
		if err := WriteHTML(&b, figures.Of(r, d), English); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b.Bytes(), []byte("NaN")) {
			t.Fatal("NaN in the page")
		}
	})
}
