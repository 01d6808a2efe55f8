package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"paceline/proxy/file"
	"paceline/proxy/suggest"
)

// A setting has one name and takes its value from the first of four sources that has it:
// its flag (-max-wait), the environment (PACELINE_MAX_WAIT), the file of -config or
// PACELINE_CONFIG (max_wait: 5ms), and the default. This file merges them by hand: no
// library that we know reports the source of each value and suggests the right name for
// a wrong one.

const environmentPrefix = "PACELINE_"

// resolve reads args, environment ("NAME=value" each) and file into f. It returns
// the source of each setting that was set. An error names the setting, its place, and
// what was expected.
func resolve(f *flag.FlagSet, args, environ []string) (sources map[string]string, err error) {
	if err := parseArguments(f, args); err != nil {
		return nil, err
	}
	sources = map[string]string{}
	f.Visit(func(g *flag.Flag) { sources[g.Name] = "flag" })
	environment, err := readEnvironment(f, environ)
	if err != nil {
		return nil, err
	}
	if err := setAll(f, sources, environment, "environment"); err != nil {
		return nil, err
	}
	path := f.Lookup(configFlag).Value.String()
	if path == "" {
		return sources, nil
	}
	file, err := readFile(f, path)
	if err != nil {
		return nil, fmt.Errorf("-%s: %w", configFlag, err)
	}
	return sources, setAll(f, sources, file, "file")
}

// parseArguments reads the command line.
func parseArguments(f *flag.FlagSet, args []string) error {
	f.SetOutput(io.Discard) // one message, ours
	if err := suggest.Flag(f, f.Parse(args)); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0))
	}
	var err error
	f.Visit(func(g *flag.Flag) {
		if slices.Contains(fileOnly, g.Name) {
			err = fmt.Errorf("-%s: is not a flag any more: write %s: %s into the file of -config, or set %s",
				g.Name, keyOf(g.Name), g.Value, variableOf(g.Name))
		}
	})
	return err
}

const configFlag = "config"

// value is a setting as it was written, with the place.
type value struct{ flag, text, place string }

// setAll sets the values that no earlier source has set.
func setAll(f *flag.FlagSet, sources map[string]string, values []value, source string) error {
	for _, v := range values {
		if sources[v.flag] != "" {
			continue
		}
		if err := f.Set(v.flag, v.text); err != nil {
			return fmt.Errorf("%s: %q: %w", v.place, v.text, err)
		}
		sources[v.flag] = source
	}
	return nil
}

// readEnvironment finds the settings among the environment's variables. A name that is
// nearly a setting is an error. Other names pass: Kubernetes makes some from the name of
// a Service.
func readEnvironment(f *flag.FlagSet, environ []string) (values []value, err error) {
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, environmentPrefix)
		if !ours || strings.HasPrefix(rest, "TEST") {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if f.Lookup(key) != nil && !onlyFlag(key) {
			values = append(values, value{key, text, name})
			continue
		}
		if near, distance := nearest(f, key); distance <= suggest.MaxTypos {
			return nil, fmt.Errorf("%s: not a setting: is %s meant?", name, variableOf(near))
		}
	}
	return values, nil
}

func variableOf(name string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// readFile reads a YAML file of settings.
func readFile(f *flag.FlagSet, path string) ([]value, error) {
	data, err := file.ReadSoon(path)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) == 0 { // nothing but comments
		return nil, nil
	}
	settings := document.Content[0]
	if settings.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: must be settings, one a line: max_wait: 5ms", path, settings.Line)
	}
	var values []value
	for i := 0; i+1 < len(settings.Content); i += 2 {
		key, v := settings.Content[i], settings.Content[i+1]
		place := fmt.Sprintf("%s:%d: %s", path, key.Line, key.Value)
		name := strings.ReplaceAll(key.Value, "_", "-")
		switch {
		case f.Lookup(name) == nil || onlyFlag(name) || name == configFlag:
			near, _ := nearest(f, name)
			return nil, fmt.Errorf("%s: not a setting: is %s meant?", place, keyOf(near))
		case v.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("%s: must be one value", place)
		case slices.ContainsFunc(values, func(o value) bool { return o.flag == name }):
			return nil, fmt.Errorf("%s: is set twice", place)
		}
		values = append(values, value{name, v.Value, place})
	}
	return values, nil
}

func keyOf(name string) string { return strings.ReplaceAll(name, "-", "_") }

// onlyFlag reports whether a flag is an action and not a setting.
func onlyFlag(name string) bool { return name == "version" || name == "print-config" }

// nearest returns the setting whose name is most like a wrong one, and how many letters
// differ.
func nearest(f *flag.FlagSet, wrong string) (name string, distance int) {
	var names []string
	f.VisitAll(func(g *flag.Flag) {
		if !onlyFlag(g.Name) {
			names = append(names, g.Name)
		}
	})
	return suggest.Nearest(names, wrong)
}

// printConfig writes all settings as a file that -config reads.
func printConfig(w io.Writer, f *flag.FlagSet, sources map[string]string) error {
	var errs []error
	f.VisitAll(func(g *flag.Flag) {
		if onlyFlag(g.Name) || g.Name == configFlag {
			return
		}
		source := sources[g.Name]
		if source == "" {
			source = "default"
		}
		_, usage := flag.UnquoteUsage(g)
		text, err := yaml.Marshal(map[string]string{keyOf(g.Name): g.Value.String()})
		if err == nil {
			_, err = fmt.Fprintf(w, "# %s (%s)\n%s", usage, source, text)
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// changed returns the names of the settings that differ between two sets of flags.
func changed(before, after *flag.FlagSet) []string {
	var names []string
	before.VisitAll(func(g *flag.Flag) {
		if after.Lookup(g.Name).Value.String() != g.Value.String() {
			names = append(names, g.Name)
		}
	})
	return names
}
