package render

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"paceline/loadgen/number"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/stats"
)

// funcs returns the functions of the templates. sig3 and sig4 format that many significant digits; plain
// formats a number that somebody typed. Text from outside must go through line, or through cell in a
// table.
func (l *Language) funcs() template.FuncMap {
	whole := func(share float64) func() string { return func() string { return fmt.Sprintf("%.0f", 100*share) } }
	same := func(n int) func() int { return func() int { return n } }
	return template.FuncMap{
		"sig3": sig3, "sig4": sig4, "figure": figure, "plain": plain, "signed": signed, "share": share, "thousands": thousands, "count": count,
		"whole":   func(v float64) string { return number.Thousands(int64(v)) },
		"hundred": func(v float64) float64 { return 100 * v },
		"two":     func(v float64) string { return known(v != 0, fmt.Sprintf("%.2f", v), "–") },
		"time":    func(of stats.Summary, v float64) string { return known(of.Count > 0, sig3(v), "–") },
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"change":  l.change, "times": l.times,
		"success": success, "perForward": perForward, "next": func(i int) int { return i + 1 },
		"p99":      func(c figures.Cell) float64 { return c.Median(func(r report.Run) float64 { return r.Latency.P99 }) },
		"busyCPUs": func(r report.Run) float64 { return *r.ProcessCPUSeconds / r.WallClockSeconds },
		"marked": func(p figures.Phase) bool {
			return slices.ContainsFunc(p.Cells, func(c figures.Cell) bool { return c.Marked })
		},
		"found": func(p figures.Phase) bool {
			return slices.ContainsFunc(p.Findings, func(f figures.Findings) bool { return !f.Empty() })
		},
		"streamed": func(f figures.Figures) bool {
			return slices.ContainsFunc(f.Runs, func(r report.Run) bool { return r.TTFT != nil })
		},
		"ttft": ttft,
		"outputs": func(c figures.Cell) float64 {
			return c.Median(func(r report.Run) float64 { return float64(r.OutputTokens) })
		},
		"outputRate": func(c figures.Cell) float64 {
			return c.Median(func(r report.Run) float64 { return float64(r.OutputTokens) / r.WallSeconds })
		},
		"varied": func(c report.Config) bool { return max(len(c.MaxInFlights), len(c.MaxWaitsSeconds), len(c.Orders)) > 1 },

		"few":    func(runs []report.Run) []report.Run { return runs[:min(len(runs), 3)] },
		"podium": podiumOf, "best": bestOf, "search": searchOf, "medal": medal, "bar": bar,
		"tokensOff": func(ratio float64) bool { return math.Abs(ratio-1) > figures.MaxTokensOff },

		"line": oneLine, "cell": cell, "capital": capital, "stored": l.fromEnglish,
		"flags":   func(args []string) string { return cell(strings.ReplaceAll(strings.Join(args, " "), "`", "'")) },
		"told":    func(s string) string { return cmp.Or(cell(s), l.unknown) },
		"tokens":  func(n uint64) string { return known(n > 0, number.Thousands(n), l.unknown) },
		"setting": l.setting, "settings": l.settings, "settingName": l.settingName, "phase": l.phase, "sep": l.sep,

		"chance": whole(figures.ByChance), "confidence": whole(figures.Confidence), "margin": whole(figures.Margin),
		"maxFailing": whole(figures.MaxFailing),
		"saturated":  whole(figures.Saturated), "slowWait": whole(report.SlowWait),
		"minRepeats": same(stats.MinToCompare), "minForInterval": same(stats.MinForInterval),
	}
}

// ttft returns the medians of the percentiles of a cell's first tokens.
func ttft(c figures.Cell) (s stats.Summary) {
	of := func(p func(stats.Summary) float64) float64 {
		return c.Median(func(r report.Run) float64 {
			if r.TTFT == nil {
				return 0
			}
			return p(*r.TTFT)
		})
	}
	s.P50, s.P99 = of(func(t stats.Summary) float64 { return t.P50 }), of(func(t stats.Summary) float64 { return t.P99 })
	return s
}

// sig4 formats a throughput, with four digits so that close neighbours in a ranking still differ.
func sig4(v float64) string { return number.Significant(v, 4) }

// sig3 formats a measured number of seconds.
func sig3(v float64) string { return number.Significant(v, 3) }

// plain formats a number as somebody typed it: 5, 0.005.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// figure formats three significant digits, without trailing zeros.
func figure(v float64) string {
	text := sig3(v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// signed formats a change of a throughput.
func signed(v float64) string {
	if v < 0 {
		return "−" + sig3(-v)
	}
	return "+" + sig3(v)
}

// share formats a share of 0 to 1: 44.7 %, and NaN as unknown.
func share(v float64) string { return known(!math.IsNaN(v), fmt.Sprintf("%.1f %%", 100*v), "–") }

// success formats a success rate and never rounds a failure away.
func success(completed, total int) string {
	v := report.Share(int64(completed), int64(total))
	if completed < total {
		v = min(0.999, v)
	}
	return share(v)
}

// thousands groups the digits of any whole number, or of a pointer to one.
func thousands(n any) string {
	switch n := n.(type) {
	case int:
		return number.Thousands(n)
	case int64:
		return number.Thousands(n)
	case *int64:
		return number.Thousands(*n)
	}
	return fmt.Sprint(n)
}

func count(n any, one, many string) string {
	text := thousands(n)
	if text == "1" {
		return "1 " + one
	}
	return text + " " + many
}

// change formats how far a cell is from its base, with a sign: +12.3 %.
func (l *Language) change(a figures.Against) string {
	if a.Base.Throughput <= 0 {
		return l.noFigure
	}
	return strings.Replace(fmt.Sprintf("%+.1f %%", 100*(a.Ratio()-1)), "-0.0 %", "+0.0 %", 1)
}

// times formats a ratio: 1.08×.
func (l *Language) times(ratio float64) string {
	if ratio <= 0 {
		return l.noFigure
	}
	return sig3(ratio) + "×"
}

// known returns text if something is known, and otherwise if not.
func known(is bool, text, otherwise string) string {
	if is {
		return text
	}
	return otherwise
}

// perForward returns how many new sequences SGLang computed in one forward, by its own count; 0 if
// unknown.
func perForward(r report.Run) float64 {
	if r.ServerForwards == nil || r.ServerSequences == nil {
		return 0
	}
	return report.Share(*r.ServerSequences, *r.ServerForwards)
}

// oneLine joins a text into one line, so that it can't break the layout.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// cell is oneLine for a table, with bars escaped; blocks unescape it. cell is idempotent.
func cell(s string) string { return strings.ReplaceAll(unescape(oneLine(s)), "|", `\|`) }

func unescape(s string) string { return strings.ReplaceAll(s, `\|`, "|") }

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// setting translates a setting's name, or its part after the size: 16, 4 in flight, 0s.
func (l *Language) setting(name string) string {
	parts := strings.Split(name, ", ")
	for i, part := range parts {
		if n, ok := strings.CutSuffix(part, " in flight"); ok {
			parts[i] = fmt.Sprintf(l.inFlight, n)
		}
	}
	return cell(strings.Join(parts, l.part))
}

// settings lists settings. Their names hold commas if more than the size varies.
func (l *Language) settings(names []string) string {
	between, texts := l.comma, make([]string, len(names))
	for i, name := range names {
		if texts[i] = l.setting(name); strings.Contains(name, ", ") {
			between = l.semicolon
		}
	}
	return strings.Join(texts, between)
}

// settingName names a setting in a sentence.
func (l *Language) settingName(setting string) string {
	switch setting {
	case "defaults", "unbatched", "direct":
		return setting
	}
	return fmt.Sprintf(l.batchSize, l.setting(setting))
}

// phase names the state of the cache.
func (l *Language) phase(name string) string { return cmp.Or(l.phases[name], cell(name)) }

// sep returns the text before item i of a list of n: a, b and c.
func (l *Language) sep(i, n int) string {
	switch i {
	case 0:
		return ""
	case n - 1:
		return l.and
	}
	return l.comma
}

// podium is the short ranking of one phase.
type podium struct {
	figures.Phase
	Bars    bool    // the last column shows the throughput as a bar
	Highest float64 // throughput of any setting
}

func podiumOf(f figures.Figures, p figures.Phase, bars bool) podium {
	v := podium{Phase: p, Bars: bars}
	for _, q := range f.Phases {
		for _, c := range q.Cells {
			v.Highest = max(v.Highest, c.Throughput)
		}
	}
	return v
}

// best is the setting that a phase's recommendation gives flags for; its fields are empty without one.
type best struct{ Setting, Flags string }

func bestOf(f figures.Figures, p figures.Phase) best {
	if c := p.Recommended.Best(); c != nil {
		return best{c.Setting, f.Flags(*c)}
	}
	return best{}
}

// searchView is one phase of a search.
type searchView struct {
	figures.Searched
	Objective report.Objective
	Flags     string // of the best setting; empty without one, or where no proxy is needed
}

func searchOf(f figures.Figures, s figures.Searched) searchView {
	v := searchView{Searched: s, Objective: *f.Config.Objective}
	if best := s.Best(); best != nil {
		v.Flags = f.Flags(best.Cell)
	}
	return v
}

// medal formats a rank; 0 is none.
func medal(rank int) string {
	switch rank {
	case 0:
		return "–"
	case 1, 2, 3:
		return string([]rune("🥇🥈🥉")[rank-1]) + " " + strconv.Itoa(rank)
	}
	return strconv.Itoa(rank)
}

// barWidth is the number of characters of the longest bar.
const barWidth = 24

// bar draws a value as blocks; highest fills barWidth.
func bar(v, highest float64) string {
	if !(v > 0) || !(highest > 0) {
		return ""
	}
	return strings.Repeat("█", max(1, int(math.Round(barWidth*v/highest))))
}
