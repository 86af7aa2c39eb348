"""Programming languages as `code.v1` knows them, and which of them a text is in, by its content alone.

A grammar is tree-sitter's, loaded when a text first asks for it. Names of node types are the grammars' own.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language as Grammar
from tree_sitter import Parser, Tree

from laconic.models import Cancelled, DeadlineExceeded, checkpoint

from .html_tree import names

HEAD = 20_000  # characters that say which language it is
MOST = 2_000_000  # characters that are parsed; more is cut by indentation
WRONG = 0.2  # share of the head in which a grammar may find errors
TRIED = 4  # grammars that parse the head, at most
CHUNK, AGAIN = 256, 20  # bytes that a grammar reads at once, and how often each, on average; programs take 1 to 6
FOREIGN = 500  # lines of `/*` with which Python's grammar takes a second or more, squared
PATIENCE = 1.0  # processor seconds for a parse, and as many for each 200,000 bytes


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language: its grammar, how it writes comments, and the node types that are cut."""

    name: str
    module: str = ""
    function: str = "language"
    comment: str = "//"
    filler: str = ""  # what an empty block must hold
    hints: str = ""  # what lines of it look like
    blocks: frozenset[str] = frozenset()  # hold statements, members or cases
    lists: frozenset[str] = frozenset()  # hold elements that may go one by one where there are many
    clauses: frozenset[str] = frozenset()  # may go while what they belong to stays
    needs: frozenset[str] = frozenset()  # stand only with one of their clauses or cases
    imports: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()  # belong to what follows them: attributes, decorators


_C = """compound_statement field_declaration_list enumerator_list declaration_list case_statement preproc_if
    preproc_ifdef preproc_else preproc_elif"""
_JS = "statement_block class_body switch_body switch_case switch_default class_static_block"
_JS_HINTS = (
    r"(?:const|let|var) [\w{\[][^=\n]{0,80}=|(?:async )?function\b|export (?:default|const|function|class|\{)"
    r"|import .{1,200} from ['\"]|module\.exports|.{0,80}=> ?\{|\}\)?[;,]?$|(?:if|for|while) ?\(.{0,100}\{$"
)

LANGUAGES: tuple[Language, ...] = (
    Language(
        name="python",
        module="tree_sitter_python",
        comment="#",
        filler="...",
        hints=r"(?:async )?def \w+\(|class \w+.{0,80}:$|from [\w.]+ import |import [\w.]+(?: as \w+)?(?:, [\w.]+)*$"
        r"|(?:if|elif|for|while|with|try|else|except|finally)\b.{0,100}:$|@\w[\w.]*(?:\(.{0,80}\))?$|return\b|self\.",
        blocks=names("block"),
        lists=names("list dictionary set"),
        clauses=names("elif_clause else_clause except_clause except_group_clause finally_clause"),
        needs=names("try_statement match_statement"),
        imports=names("import_statement import_from_statement future_import_statement"),
    ),
    Language(
        name="javascript",
        module="tree_sitter_javascript",
        hints=_JS_HINTS,
        blocks=names(_JS),
        lists=names("array object"),
        clauses=names("else_clause catch_clause finally_clause"),
        needs=names("try_statement"),
        imports=names("import_statement"),
        before=names("decorator"),
    ),
    *(
        Language(
            name=name,
            module="tree_sitter_typescript",
            function=f"language_{name}",
            hints=_JS_HINTS
            + r"|(?:export )?(?:declare )?(?:interface|type|enum|namespace|abstract class) \w+|.{0,80}\w\??: "
            r"(?:string|number|boolean|void|any|unknown)\b|(?:private|public|readonly|protected) \w+",
            blocks=names(_JS + " interface_body object_type enum_body"),
            lists=names("array object"),
            clauses=names("else_clause catch_clause finally_clause"),
            needs=names("try_statement"),
            imports=names("import_statement"),
            before=names("decorator"),
        )
        for name in ("typescript", "tsx")
    ),
    Language(
        name="java",
        module="tree_sitter_java",
        hints=r"package [\w.]+;|import (?:static )?[\w.*]+;|(?:public|private|protected)\b.{0,100}[{;]$|@Override|\}$"
        r"|(?:final |abstract )?(?:class|interface|enum) \w+",
        blocks=names(
            """block class_body interface_body enum_body constructor_body switch_block switch_block_statement_group
            annotation_type_body"""
        ),
        lists=names("array_initializer"),
        clauses=names("catch_clause finally_clause"),
        needs=names("try_statement"),
        imports=names("import_declaration package_declaration"),
    ),
    Language(
        name="go",
        module="tree_sitter_go",
        hints=r"package \w+$|func (?:\(\w+ \*?\w+\) )?\w+\(|import (?:\(|\")|type \w+ (?:struct|interface)|.{0,60}:= "
        r"|\}$|if err != nil",
        blocks=names(
            """block field_declaration_list import_spec_list interface_type expression_switch_statement
            type_switch_statement select_statement expression_case type_case default_case communication_case"""
        ),
        lists=names("literal_value"),
        imports=names("import_declaration package_clause"),
    ),
    Language(
        name="rust",
        module="tree_sitter_rust",
        hints=r"(?:pub(?:\(\w+\))? )?(?:unsafe |async |const )*fn \w+|use [\w:{}, *]+;|impl\b|let (?:mut )?\w+|#!?\[\w+"
        r"|(?:pub )?(?:struct|enum|trait|mod) \w+|\}$",
        blocks=names("block declaration_list field_declaration_list enum_variant_list match_block"),
        lists=names("array_expression field_initializer_list"),
        clauses=names("else_clause"),
        imports=names("use_declaration extern_crate_declaration"),
        before=names("attribute_item"),
    ),
    Language(
        name="c",
        module="tree_sitter_c",
        hints=r"# ?(?:include|define|ifn?def|endif|if|pragma)\b|typedef\b|/\*|\}$"
        r"|(?:static|extern|struct|unsigned|const)\b.{1,100}"
        r"|(?:int|void|char|double|float|size_t|long) \**\w+.{0,80}[;{(,)]$",
        blocks=names(_C),
        lists=names("initializer_list"),
        clauses=names("else_clause"),
        imports=names("preproc_include"),
    ),
    Language(
        name="cpp",
        module="tree_sitter_cpp",
        hints=r"# ?(?:include|define|ifn?def|endif|if|pragma)\b|template ?<|namespace \w*|(?:class|struct) \w+"
        r"|.{0,80}\w::\w|(?:public|private|protected):|using \w|(?:int|void|bool|auto|static|const)\b.{1,100}[;{]$|\}$",
        blocks=names(_C),
        lists=names("initializer_list"),
        clauses=names("else_clause catch_clause"),
        needs=names("try_statement"),
        imports=names("preproc_include using_declaration"),
    ),
    Language(
        name="bash",
        module="tree_sitter_bash",
        comment="#",
        filler=":",
        hints=r"#!.{0,40}\b(?:ba|da|k|z)?sh\b|(?:el)?if \[|then$|fi$|done$|esac$|\w+=[\"$]|echo |export \w+=|set -[a-z]"
        r"|\w+ ?\(\) ?\{|\}$",
        blocks=names("compound_statement do_group"),
    ),
)
_HINTS = {x.name: re.compile(rf"^[ \t]*(?:{x.hints})", re.M) for x in LANGUAGES}
_LINE = re.compile(
    r"^[ \t]*(?:[})\]]+[;,)]*|.{0,300}[{};]|.{0,300}\)?:|(?:#|//|/\*|\*|@|--).{0,300}"
    r"|(?:def|class|import|from|return|func|fn|pub|let|const|var|use|package|if|for|while|else|public|private|static"
    r"|typedef|struct|export|async|fi|done|end|elif|case|break|continue|raise|throw|assert)\b.{0,300}"
    r"|[\w.\[\]'\"*>-]{1,80} ?[-+*/|&:]?= ?\S.{0,300}|[\w.:>-]{1,80}\(.{0,300}[),(])[ \t]*$"
)


def head_of(text: str) -> str:
    """The first HEAD characters, by whole lines where they have any."""
    return text if len(text) <= HEAD else text[: text.rfind("\n", 0, HEAD) + 1 or HEAD]


def looks_like_code(text: str) -> float:
    """Share of the head's lines that look like code in some language; 0 to 1. Comments and log lines may too."""
    lines = [line for line in head_of(text).split("\n") if line.strip()]
    return sum(_LINE.match(line[:400]) is not None for line in lines) / max(1, len(lines))


@cache
def grammar(language: Language) -> Grammar:
    module = importlib.import_module(language.module)
    return Grammar(getattr(module, language.function)())


def parse(language: Language, text: str) -> Tree | None:
    """The text's tree, offsets in bytes of UTF-8; None where the grammar's recovery from errors takes too long.

    Two things can: reading ahead to the end again and again, which is counted, and long stacks, which only a clock
    shows: the processor time of this thread, so that others do not count. It allows twenty times what programs take.
    One case neither sees: Python's grammar over C comments.
    """
    if language.comment == "#" and text.count("\n/*") > FOREIGN:
        return None
    data = memoryview(text.encode())
    reads, most = 0, AGAIN * (len(data) // CHUNK + 8)
    end = time.thread_time() + PATIENCE * (1 + len(data) / 200_000)

    def unwanted() -> bool:
        try:
            checkpoint()
        except (Cancelled, DeadlineExceeded):
            return True
        return False

    def read(at: int, point: object) -> memoryview:
        nonlocal reads
        reads += 1
        return data[at : at + CHUNK if reads <= most else at]

    try:
        tree = Parser(grammar(language)).parse(
            read, progress_callback=lambda at, wrong: unwanted() or time.thread_time() > end
        )
    except ValueError:  # the clock
        checkpoint()
        return None
    return tree if reads <= most else None


def language_of(text: str) -> Language | None:
    """The language that fits the text's head; None where none does."""
    found = fitting(head_of(text))
    return found[0] if found else None


def fitting(head: str) -> tuple[Language, Tree] | None:
    """The language whose grammar fits best among those that the lines hint at, and the tree; None where none does."""
    hits = {x: len(_HINTS[x.name].findall(head)) for x in LANGUAGES}
    likely = sorted((x for x in LANGUAGES if hits[x]), key=lambda x: -hits[x])[:TRIED]
    trees = {x: parse(x, head) for x in likely}
    wrong = {x: errors(tree) / max(1, len(head.encode())) for x, tree in trees.items()}
    best = min(likely, key=lambda x: (round(wrong[x], 2), -hits[x]), default=None)
    tree = trees[best] if best and wrong[best] <= WRONG else None
    return (best, tree) if best and tree else None


def errors(tree: Tree | None) -> int:
    """Bytes in what the grammar could not place, and one for each token that it missed; without a tree, no end."""
    return sum(max(1, b - a) for a, b in faults(tree)) if tree else sys.maxsize


def faults(tree: Tree) -> Iterator[tuple[int, int]]:
    """Ranges of bytes that the grammar could not place, or empty ones where a token is missing."""
    todo = [tree.root_node]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            yield node.start_byte, node.end_byte
        elif node.has_error:
            todo += node.children
