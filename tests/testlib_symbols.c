/* SPDX-License-Identifier: ISC */
/*
 * testlib_symbols.c: see testlib_symbols.h.  What is mapped stays so.
 */
#include "testlib_symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testlib.h"

static const Elf64_Sym *symbols;
static size_t nsymbols;
static const char *names;

void
t_symbols_read(const char *program)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	const Elf64_Ehdr *head;
	const Elf64_Shdr *sections;
	const unsigned char *file;
	struct stat st;

	if (symbols != NULL)
		return;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ck_assert_ptr_ne(file, MAP_FAILED);
	close(fd);
	head = (const Elf64_Ehdr *)file;
	sections = (const Elf64_Shdr *)(file + head->e_shoff);
	for (int i = 0; i < head->e_shnum; i++) {
		if (sections[i].sh_type != SHT_SYMTAB)
			continue;
		symbols = (const Elf64_Sym *)(file + sections[i].sh_offset);
		nsymbols = sections[i].sh_size / sizeof *symbols;
		names = (const char *)(file + sections[sections[i].sh_link].sh_offset);
	}
	ck_assert_msg(symbols != NULL, "%s is stripped", program);
}

const char *
t_symbol(uint64_t offset)
{
	for (size_t i = 0; i < nsymbols; i++) {
		if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && offset >= symbols[i].st_value &&
		    offset < symbols[i].st_value + symbols[i].st_size)
			return names + symbols[i].st_name;
	}
	return "?";
}
