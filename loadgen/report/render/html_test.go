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

func pageOf(t testing.TB, r report.Report, l *Language) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, figures.Of(r), l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	page := pageOf(t, traced(), English)
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

// many is a sweep as large as the page takes: settings of several dimensions.
func many() report.Report {
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
	return of(groups...)
}

func TestThePageStaysBelowAMegabyte(t *testing.T) {
	r := many()
	for l, page := range map[*Language]string{English: pageOf(t, r, English), Chinese: pageOf(t, r, Chinese)} {
		t.Logf("%s: %d bytes for %d runs", l.Code, len(page), len(r.Runs))
		if len(page) >= 1_000_000 {
			t.Errorf("%s: %d bytes", l.Code, len(page))
		}
	}
}

func TestSettingsOfSeveralDimensionsAreCurvesOverTheSize(t *testing.T) {
	r := many()
	page := pageOf(t, r, English)
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
	for _, l := range []*Language{English, Chinese} {
		page := pageOf(t, r, l)
		if strings.Contains(page, "<img") || strings.Contains(page, "javascript:") {
			t.Error(page[max(0, strings.Index(page, "<img")-200):])
		}
	}
}

func TestThePageIsTaggedAndItsTablesAreReadable(t *testing.T) {
	page := pageOf(t, full(), Chinese)
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
	r := many()
	r.Environment.Args = []string{"-" + strings.Repeat("long", 200)}
	page := pageOf(t, r, English)
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
