// Package mirror moves many files between this machine and a server: it walks,
// plans, transfers in parallel, resumes what was cut, verifies, tries again, and
// says what became of each file.
//
// It knows no protocol and prints nothing. A remote.Tree moves the bytes of one
// file; where files of this machine are written, an os.Root keeps every name
// inside of the directory that was asked for.
//
// A file is received beside its name, in NAME.dray-part, and renamed when it is
// whole. What is cut stays there with a note of the same name and .json, which
// tells what it was the beginning of; it is gone on with when the source is the
// same and the bytes are those that came. What differs from the source by a checksum is
// kept as NAME.dray-part.bad.
//
// A large file may come over several connections. Then the unfinished one has holes, and
// its note says where; none is there before the note tells of holes.
//
// Uploads go the same way on the server, except to one that hides them until they are
// whole; the notes about them are on this machine.
package mirror
