package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"paceline/loadgen/number"
)

// rate writes a throughput: four digits, so that neighbours in a ranking that
// differ little still differ in the table.
func rate(v float64) string { return number.Significant(v, 4) }

// short writes a measured number of seconds in few digits.
func short(v float64) string { return number.Significant(v, 3) }

// given writes a number as somebody set it: 5, 0.005.
func given(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// percent writes how far v is from base, with its sign: +12.3 %.
func percent(v, base float64) string {
	if base <= 0 {
		return "no figure"
	}
	text := fmt.Sprintf("%+.1f %%", 100*(v/base-1))
	if text == "-0.0 %" {
		return "+0.0 %"
	}
	return text
}

// ratio writes v as a multiple of base: 1.08×.
func ratio(v, base float64) string {
	if base <= 0 {
		return "no figure"
	}
	return number.Significant(v/base, 3) + "×"
}

// shareText writes a share of 0 to 1: 44.7 %.
func shareText(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// counted writes a number of things: 1 prompt, 2 prompts.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number.Thousands(n) + " " + thing + "s"
}

// joined writes a list in a sentence: a, b and c.
func joined(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// settingName names a setting in a sentence.
func settingName(setting string) string {
	switch setting {
	case "auto", "unbatched", "direct":
		return setting
	}
	return "batch size " + setting
}

func trajectoriesText(n int) string {
	if n == 1 {
		return "1 trajectory"
	}
	return number.Thousands(n) + " trajectories"
}
