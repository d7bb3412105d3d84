//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// median of at least one value.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (r result) values(server, figure string) []float64 {
	var v []float64
	for _, s := range r.Samples[server] {
		v = append(v, s[figure])
	}
	return v
}

// best is the peer with the best median, "" without any.
func (r result) best(f figure) string {
	best := ""
	for name := range r.Samples {
		v := r.values(name, f.name)
		if len(v) == 0 || strings.HasPrefix(name, "dray") {
			continue
		}
		if best == "" {
			best = name
			continue
		}
		old, now := median(r.values(best, f.name)), median(v)
		if f.higher && now > old || !f.higher && now < old {
			best = name
		}
	}
	return best
}

// A comparison is one line of the table.
type comparison struct {
	Row     string             `json:"row"`
	Figure  string             `json:"figure"`
	Medians map[string]float64 `json:"medians"`
	Best    string             `json:"best,omitempty"` // of the peers
	Ratio   float64            `json:"ratio,omitempty"`
	Low     float64            `json:"low,omitempty"` // of the ratios of single rounds
	High    float64            `json:"high,omitempty"`
	Target  string             `json:"target,omitempty"`
	Verdict string             `json:"verdict,omitempty"`
}

func compare(r result, f figure) comparison {
	c := comparison{Row: r.Row, Figure: f.name, Medians: map[string]float64{}, Best: r.best(f)}
	for name, samples := range r.Samples {
		if len(samples) > 0 {
			c.Medians[name] = median(r.values(name, f.name))
		}
	}
	ours, theirs := r.values("dray", f.name), r.values(c.Best, f.name)
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] != 0 {
			ratios = append(ratios, ours[i]/theirs[i])
		}
	}
	if len(ratios) > 0 {
		c.Ratio, c.Low, c.High = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	if f.target == 0 || len(ours) == 0 || !f.bound && len(ratios) == 0 {
		return c
	}
	value, sign := c.Ratio, "≤"
	if f.bound {
		value = c.Medians["dray"]
	}
	met := value <= f.target
	if f.higher {
		sign, met = "≥", value >= f.target
	}
	c.Target, c.Verdict = fmt.Sprintf("%s %v", sign, f.target), "missed"
	if !f.bound {
		c.Target += " ×"
	}
	if met {
		c.Verdict = "met"
	}
	return c
}

func comparisons(results []result) []comparison {
	var all []comparison
	for _, r := range results {
		for _, f := range r.row.figures {
			all = append(all, compare(r, f))
		}
	}
	return all
}

// report prints the table, in Markdown.
func (b *bench) report(results []result) error {
	var names []string
	for _, r := range recipes() {
		if slices.ContainsFunc(results, func(res result) bool { return len(res.Samples[r.name]) > 0 }) {
			names = append(names, r.name)
		}
	}
	w := tabwriter.NewWriter(b.out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| row\t| figure\t| %s\t| best\t| ratio\t| of single rounds\t| target\t| \t|\n", strings.Join(names, "\t| "))
	fmt.Fprintf(w, "|---\t|---%s\t|---\t|---\t|---\t|---\t|---\t|\n", strings.Repeat("\t|---", len(names)))
	for _, c := range comparisons(results) {
		fmt.Fprintf(w, "| %s\t| %s\t", c.Row, c.Figure)
		for _, name := range names {
			cell := ""
			if v, ok := c.Medians[name]; ok {
				cell = short(v)
			}
			fmt.Fprintf(w, "| %s\t", cell)
		}
		ratio, spread := "", ""
		if c.Ratio != 0 {
			ratio, spread = fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("%.2f-%.2f", c.Low, c.High)
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", c.Best, ratio, spread, c.Target, c.Verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\n%d rounds, %d processors, %s; CPU from %s.\n", b.rounds, runtime.NumCPU(), runtime.Version(), b.servers[0].group.how())
	for _, r := range results {
		for name, why := range r.Failed {
			fmt.Fprintf(b.out, "%s: %s: %s\n", r.Row, name, why)
		}
	}
	return nil
}

// short is a value with three digits that count.
func short(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v <= -1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func writeJSON(name string, b *bench, results []result) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(struct {
		Rounds      int          `json:"rounds"`
		Processors  int          `json:"processors"`
		Go          string       `json:"go"`
		Missing     []string     `json:"missing,omitempty"`
		Comparisons []comparison `json:"comparisons"`
		Rows        []result     `json:"rows"`
	}{b.rounds, runtime.NumCPU(), runtime.Version(), b.missing, comparisons(results), results}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
