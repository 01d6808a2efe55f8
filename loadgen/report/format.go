package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"paceline/loadgen/number"
	"paceline/loadgen/phrase"
)

// rate writes a throughput: four digits, so that neighbours in a ranking that
// differ little still differ in the table.
func rate(v float64) string { return number.Significant(v, 4) }

// short writes a measured number of seconds in few digits.
func short(v float64) string { return number.Significant(v, 3) }

// given writes a number as somebody set it: 5, 0.005.
func given(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// percent writes how far v is from base, with its sign: +12.3 %.
func percent(v, base float64) phrase.Phrase {
	if base <= 0 {
		return phrase.Say("no figure")
	}
	text := fmt.Sprintf("%+.1f %%", 100*(v/base-1))
	if text == "-0.0 %" {
		return phrase.Name("+0.0 %")
	}
	return phrase.Name(text)
}

// ratio writes v as a multiple of base: 1.08×.
func ratio(v, base float64) phrase.Phrase {
	if base <= 0 {
		return phrase.Say("no figure")
	}
	return phrase.Name(number.Significant(v/base, 3) + "×")
}

// shareText writes a share of 0 to 1: 44.7 %.
func shareText(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// settingName names a setting in a sentence.
func settingName(setting string) phrase.Phrase {
	switch setting {
	case "auto", "unbatched", "direct":
		return phrase.Name(setting)
	}
	return phrase.Say("batch size %s", combination(setting))
}

// phaseName names the state of the cache in a sentence or a cell.
func phaseName(name string) phrase.Phrase {
	switch name {
	case "cold":
		return phrase.Say("cold")
	case "warm":
		return phrase.Say("warm")
	}
	return phrase.Name(name)
}
