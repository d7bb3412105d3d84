package config

import "time"

// A Size is a number of bytes. As text it has a unit of 1024: "500M", "10G"; a
// bare number is bytes.
type Size int64

// A Date is a day, as 2027-06-30, in the time zone of the machine.
type Date struct{ time.Time }
