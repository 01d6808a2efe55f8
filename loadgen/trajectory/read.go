package trajectory

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
)

// maxLineBytes bounds one line. R2E-Gym's rows reach 2.7 MB; a file without
// line ends should fail before it fills the memory.
const maxLineBytes = 256 << 20

// ReadFile reads R2E-Gym trajectories from a file of JSON lines; see Read.
func ReadFile(path string) ([]Trajectory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path already
	}
	defer func() { _ = f.Close() }() // only read from: nothing to lose
	return Read(f, path)
}

// ReadProblems reads problem statements from a file of JSON lines
// {instance_id, repo, problem_statement}. What it returns has no steps,
// whatever else the lines hold. Errors are those of Read.
func ReadProblems(path string) ([]Trajectory, error) {
	problems, err := ReadFile(path)
	for i := range problems {
		problems[i].Steps = nil
	}
	return problems, err
}

// Read reads one trajectory a line. Blank lines are skipped, unknown fields
// ignored, and absent or null ones left empty, except problem_statement. The
// first line that can't be read ends it with an error that names name, the
// line's number and what was expected; so does an input without trajectories.
//
// Trajectories of the same problem get "#2", "#3", … added to their IDs.
func Read(r io.Reader, name string) ([]Trajectory, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	var all []Trajectory
	ids := identities{}
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		t, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
		}
		if t.ID == "" {
			t.ID = "line-" + strconv.Itoa(number)
		}
		t.ID = ids.claim(t.ID)
		all = append(all, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", name, number+1, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no trajectories: expected one JSON object a line", name)
	}
	return all, nil
}

// identities counts how often each ID was claimed.
type identities map[string]int

// claim returns an ID that nobody has, derived from id.
func (ids identities) claim(id string) string {
	free := id
	for ids[free] > 0 {
		ids[id]++
		free = id + "#" + strconv.Itoa(ids[id])
	}
	ids[free]++
	return free
}
