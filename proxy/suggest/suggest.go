// Package suggest finds the name that a wrong one was probably meant to be.
package suggest

import (
	"flag"
	"fmt"
	"strings"
)

// Flag returns the error of f.Parse. For an unknown flag it names the nearest one instead, if one is near.
func Flag(f *flag.FlagSet, err error) error {
	if err == nil {
		return nil
	}
	wrong, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	var names, longer []string
	f.VisitAll(func(g *flag.Flag) {
		names = append(names, g.Name)
		if strings.HasPrefix(g.Name, wrong) {
			longer = append(longer, g.Name)
		}
	})
	if len(longer) > 0 {
		names = longer
	}
	near, distance := Nearest(names, wrong)
	if len(longer) == 0 && distance > MaxTypos {
		return fmt.Errorf("-%s: not a flag, see -h", wrong)
	}
	return fmt.Errorf("-%s: not a flag: is -%s meant?", wrong, near)
}

// Nearest returns the name that is most like a wrong one, and how many letters differ.
func Nearest(names []string, wrong string) (name string, distance int) {
	distance = 1 << 30
	for _, n := range names {
		if d := editDistance(n, wrong); d < distance {
			name, distance = n, d
		}
	}
	return name, distance
}

// MaxTypos is how many letters of a near name may differ. Names further off are no misspellings.
const MaxTypos = 2

// editDistance returns the Levenshtein distance of two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
